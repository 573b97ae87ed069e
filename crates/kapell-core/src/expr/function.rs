//! The functions of the language.

use super::context::Status;

/// A function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Function {
    /// `contains(search, item)`
    Contains,
    /// `startsWith(text, start)`
    StartsWith,
    /// `endsWith(text, end)`
    EndsWith,
    /// `format(text, ...)`
    Format,
    /// `join(array, separator)`
    Join,
    /// `toJSON(value)`
    ToJson,
    /// `fromJSON(text)`
    FromJson,
    /// `hashFiles(pattern, ...)`
    HashFiles,
    /// `case(condition, value, ..., otherwise)`
    Case,
    /// `success()`
    Success,
    /// `failure()`
    Failure,
    /// `always()`
    Always,
    /// `cancelled()`
    Cancelled,
}

/// Name, fewest and most arguments of each function.
const TABLE: [(Function, &str, usize, usize); 13] = [
    (Function::Contains, "contains", 2, 2),
    (Function::StartsWith, "startsWith", 2, 2),
    (Function::EndsWith, "endsWith", 2, 2),
    (Function::Format, "format", 1, 255),
    (Function::Join, "join", 1, 2),
    (Function::ToJson, "toJSON", 1, 1),
    (Function::FromJson, "fromJSON", 1, 1),
    (Function::HashFiles, "hashFiles", 1, 255),
    (Function::Case, "case", 3, 255),
    (Function::Success, "success", 0, 0),
    (Function::Failure, "failure", 0, 0),
    (Function::Always, "always", 0, 0),
    (Function::Cancelled, "cancelled", 0, 0),
];

impl Function {
    /// Finds a function by its name, without regard to case.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.1.eq_ignore_ascii_case(name)).map(|row| row.0)
    }

    /// Returns the names of all functions.
    pub fn names() -> impl Iterator<Item = &'static str> {
        TABLE.iter().map(|row| row.1)
    }

    fn row(self) -> &'static (Self, &'static str, usize, usize) {
        // The table has a row for every variant; a test holds it to that.
        TABLE.iter().find(|row| row.0 == self).unwrap_or(&TABLE[0])
    }

    /// Returns its name as GitHub writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// Returns the fewest and the most arguments.
    #[must_use]
    pub fn arity(self) -> (usize, usize) {
        (self.row().2, self.row().3)
    }

    /// Returns which status it asks for, if it does.
    #[must_use]
    pub fn status(self) -> Option<Status> {
        match self {
            Self::Success => Some(Status::Success),
            Self::Failure => Some(Status::Failure),
            Self::Always => Some(Status::Always),
            Self::Cancelled => Some(Status::Cancelled),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_has_its_row() {
        for (at, row) in TABLE.iter().enumerate() {
            assert_eq!(row.0 as usize, at, "{}", row.1);
            assert_eq!(Function::find(&row.1.to_uppercase()), Some(row.0));
            assert_eq!(row.0.name(), row.1);
        }
    }

    #[test]
    fn every_name_is_listed_once_and_finds_its_function() {
        let names: Vec<&str> = Function::names().collect();
        assert_eq!(names.len(), TABLE.len());
        assert!(names.iter().all(|name| Function::find(name).is_some_and(|found| found.name() == *name)));
    }
}
