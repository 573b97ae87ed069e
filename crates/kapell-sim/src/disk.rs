//! A simulated disk with a journal on it: what was written may tear or vanish until it is synced.

use kapell_core::journal::{Row, Version};

use crate::dice::Dice;

/// A snapshot as it lies on the disk.
pub(crate) struct Kept {
    pub(crate) fold: u32,
    pub(crate) bytes: Vec<u8>,
    pub(crate) n: Version,
}

struct Record {
    row: Row,
    intact: bool,
}

/// The journal of a run.
#[derive(Default)]
pub(crate) struct Disk {
    records: Vec<Record>,
    /// How many records no crash can take away.
    synced: usize,
    pub(crate) snapshot: Option<Kept>,
}

impl Disk {
    /// Returns how many decisions can be read: those before the first record that is torn.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.records.iter().take_while(|record| record.intact).map(|record| &record.row)
    }

    pub(crate) fn row(&self, n: Version) -> Option<&Row> {
        let at = usize::try_from(n.0.checked_sub(1)?).ok()?;
        self.records.get(at).filter(|record| record.intact).map(|record| &record.row)
    }

    pub(crate) fn write(&mut self, rows: Vec<Row>) {
        self.records.extend(rows.into_iter().map(|row| Record { row, intact: true }));
    }

    pub(crate) fn sync(&mut self) {
        self.synced = self.records.len();
    }

    /// Writes only the beginning of `rows`, and half of the record after that.
    pub(crate) fn tear(&mut self, rows: Vec<Row>, dice: &mut Dice) {
        let whole = dice.index(rows.len());
        for (at, row) in rows.into_iter().enumerate().take(whole + 1) {
            self.records.push(Record { row, intact: at < whole });
        }
    }

    /// Lets each record that is not synced be lost, torn or kept, whatever the order of writing.
    pub(crate) fn lose_unsynced(&mut self, dice: &mut Dice) {
        for record in &mut self.records[self.synced..] {
            if dice.chance(300) {
                record.intact = false;
            }
        }
    }

    /// Cuts off what is torn and all after it; what is left is durable. Returns whether something was cut.
    pub(crate) fn recover(&mut self) -> bool {
        let whole = self.records.iter().take_while(|record| record.intact).count();
        let cut = whole < self.records.len();
        self.records.truncate(whole);
        self.synced = whole;
        cut
    }
}
