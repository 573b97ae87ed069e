//! The cells of a matrix, by GitHub's rules of `exclude` and `include`.

use std::collections::BTreeMap;

use kapell_core::{expr::Value, plan};

use super::Matrix;
use crate::{codes, finding::Finding};

/// The most values of cells to which `include` adds some; each such cell is then kept by itself.
const EXTENDED_LIMIT: usize = 2_000_000;

/// The most cells that all entries of `include` and `exclude` together may match.
const MATCH_LIMIT: usize = 20_000_000;

/// The cells of a matrix.
pub(super) struct Cells {
    /// The axes, if there are any.
    pub(super) product: Option<plan::Matrix>,
    /// Which cells of the product are left, if not all of them. Extended ones are among them.
    left: Option<Vec<bool>>,
    /// How many cells the product has.
    size: usize,
    /// Cells of the product that have further values, by index: where in `written` they are.
    extended: BTreeMap<usize, usize>,
    /// Cells written out: extended ones, then those of `include` alone.
    pub(super) written: Vec<Vec<(String, Value)>>,
}

/// Where a cell is kept.
pub(super) enum Kept {
    /// In the product.
    Product(u32),
    /// Among those written out.
    Written(u32),
}

impl Cells {
    /// Returns all cells in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Kept> + '_ {
        let narrow = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let product =
            (0..self.size).filter(|at| self.left.as_ref().is_none_or(|left| left[*at])).map(move |at| {
                match self.extended.get(&at) {
                    Some(written) => Kept::Written(narrow(*written)),
                    None => Kept::Product(narrow(at)),
                }
            });
        product.chain((self.extended.len()..self.written.len()).map(move |at| Kept::Written(narrow(at))))
    }

    /// Counts the cells.
    pub(super) fn len(&self) -> usize {
        let product = self.left.as_ref().map_or(self.size, |left| left.iter().filter(|left| **left).count());
        product + self.written.len() - self.extended.len()
    }
}

/// Works out the cells; at most `limit`.
pub(super) fn cells(matrix: &Matrix, limit: usize, findings: &mut Vec<Finding>) -> Option<Cells> {
    let sizes: Vec<usize> = matrix.axes.iter().map(|(_, values)| values.len()).collect();
    let size = sizes.iter().try_fold(1_usize, |product, len| product.checked_mul(*len));
    let size = if matrix.axes.is_empty() { Some(0) } else { size };
    let Some(size) = size.filter(|size| *size <= limit) else {
        let message = format!("the matrix has more than {limit} cells");
        findings.push(Finding::error(codes::TOO_MANY_TASKS, matrix.span, message));
        return None;
    };
    let mut work = 0;
    let mut left = None;
    for exclude in &matrix.exclude {
        let cells = left.get_or_insert_with(|| vec![true; size]);
        let matched = matching(matrix, &exclude.value, false, &mut |at| cells[at] = false);
        work += matched;
        if matched == 0 {
            let message = "this exclusion matches no cell of the matrix";
            findings.push(Finding::warning(codes::EXCLUDE_NOTHING, exclude.span, message));
        }
        too_much(matrix, work, findings)?;
    }
    let mut added: BTreeMap<usize, Vec<(String, Value)>> = BTreeMap::new();
    let mut alone = Vec::new();
    for include in &matrix.include {
        let mut matched = Vec::new();
        let is_left = |at: usize| left.as_ref().is_none_or(|left: &Vec<bool>| left[at]);
        work += matching(matrix, &include.value, true, &mut |at| matched.extend(is_left(at).then_some(at)));
        too_much(matrix, work, findings)?;
        let more: Vec<_> = include.value.iter().filter(|(name, _)| !is_axis(matrix, name)).cloned().collect();
        if matched.is_empty() {
            alone.push(include.value.clone());
        } else if (added.len() + matched.len()).saturating_mul(sizes.len() + more.len()) > EXTENDED_LIMIT {
            let message = "`include` adds values to too many cells";
            let hint = "make it an axis with one value";
            findings.push(Finding::error(codes::MATRIX, include.span, message).hint(hint));
            return None;
        } else if !more.is_empty() {
            for at in matched {
                let values = added.entry(at).or_default();
                values.retain(|(name, _)| !more.iter().any(|(new, _)| new == name));
                values.extend(more.iter().cloned());
            }
        }
    }
    let axes = matrix.axes.iter().map(|(name, values)| (name.value.clone(), values.clone())).collect();
    let product = plan::Matrix::Product(axes);
    let mut extended = BTreeMap::new();
    let mut written = Vec::new();
    for (at, values) in added {
        extended.insert(at, written.len());
        let own = product.cell(u32::try_from(at).unwrap_or(u32::MAX));
        let own = own.into_iter().map(|(name, value)| (name.to_owned(), value.clone()));
        written.push(own.chain(values).collect());
    }
    written.extend(alone);
    let product = (size > extended.len()).then_some(product);
    Some(Cells { product, left, size, extended, written })
}

fn too_much(matrix: &Matrix, work: usize, findings: &mut Vec<Finding>) -> Option<()> {
    if work <= MATCH_LIMIT {
        return Some(());
    }
    let message = "`include` and `exclude` together match too many cells";
    findings.push(
        Finding::error(codes::TOO_MANY_TASKS, matrix.span, message).hint("use fewer and narrower entries"),
    );
    None
}

fn is_axis(matrix: &Matrix, name: &str) -> bool {
    matrix.axes.iter().any(|(axis, _)| axis.value == name)
}

/// Calls `found` with the index of each cell that has the values of `wanted`, and counts them. Names that are no axis
/// match every cell if `others` is set, and none otherwise.
fn matching(
    matrix: &Matrix,
    wanted: &[(String, Value)],
    others: bool,
    found: &mut dyn FnMut(usize),
) -> usize {
    if matrix.axes.is_empty() || !others && wanted.iter().any(|(name, _)| !is_axis(matrix, name)) {
        return 0;
    }
    // For each axis the values that fit.
    let fitting: Vec<Vec<usize>> = matrix
        .axes
        .iter()
        .map(|(name, values)| {
            let value = wanted.iter().find(|(wanted, _)| *wanted == name.value).map(|(_, value)| value);
            (0..values.len()).filter(|at| value.is_none_or(|value| *value == values[*at])).collect()
        })
        .collect();
    if fitting.iter().any(Vec::is_empty) {
        return 0;
    }
    let mut digits = vec![0; fitting.len()];
    let mut count = 0;
    loop {
        let index = digits
            .iter()
            .zip(&fitting)
            .zip(&matrix.axes)
            .fold(0, |index, ((digit, fitting), (_, values))| index * values.len() + fitting[*digit]);
        found(index);
        count += 1;
        // The last axis is the fastest.
        let Some(axis) = (0..digits.len()).rev().find(|axis| digits[*axis] + 1 < fitting[*axis].len()) else {
            return count;
        };
        digits[axis] += 1;
        digits[axis + 1..].fill(0);
    }
}
