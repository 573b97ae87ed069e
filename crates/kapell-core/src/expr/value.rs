//! Values, their coercions and their JSON.

use std::{borrow::Cow, cmp::Ordering, collections::HashMap, fmt, sync::Arc};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, SeqAccess, Visitor},
    ser::{Error as _, SerializeMap as _},
};

use super::number;

/// What is known of an unknown value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Leaning {
    /// Nothing.
    #[default]
    Any,
    /// It counts as true.
    Truthy,
    /// It counts as false.
    Falsy,
}

/// A value of an expression. A clone is cheap.
///
/// Equality here is that of the data; `==` in an expression is [`Value::loosely_equals`].
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Value {
    /// Anything that it may become.
    Unknown(Leaning),
    /// Nothing.
    #[default]
    Null,
    /// A truth value.
    Bool(bool),
    /// A number.
    Number(f64),
    /// A text.
    String(Arc<str>),
    /// A list.
    Array(Arc<[Value]>),
    /// Named values.
    Object(Arc<Object>),
}

/// Named values, in order. Names differ in more than case only if they were given so.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Object {
    entries: Vec<(Arc<str>, Value)>,
    open: bool,
}

impl Object {
    /// Makes an object of all its entries. Of two entries with one name the last counts.
    pub fn new<K: Into<Arc<str>>>(entries: impl IntoIterator<Item = (K, Value)>) -> Self {
        let mut at: HashMap<Arc<str>, usize> = HashMap::new();
        let mut kept: Vec<(Arc<str>, Value)> = Vec::new();
        for (name, value) in entries {
            let name = name.into();
            if let Some(&index) = at.get(&name) {
                kept[index].1 = value;
            } else {
                at.insert(name.clone(), kept.len());
                kept.push((name, value));
            }
        }
        Self { entries: kept, open: false }
    }

    /// Makes an object that may have more entries than are known.
    pub fn open<K: Into<Arc<str>>>(entries: impl IntoIterator<Item = (K, Value)>) -> Self {
        Self { open: true, ..Self::new(entries) }
    }

    /// Tells whether it may have more entries than are known.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Returns the known entries.
    #[must_use]
    pub fn entries(&self) -> &[(Arc<str>, Value)] {
        &self.entries
    }

    /// Finds an entry: by its exact name, or else without regard to ASCII case.
    /// `None`: there is none; if the object is open, none is known.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        let exact = self.entries.iter().find(|(known, _)| **known == *name);
        exact
            // In an open object the exact name may still turn up.
            .or_else(|| {
                if self.open {
                    return None;
                }
                self.entries.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))
            })
            .map(|(_, value)| value)
    }
}

impl Value {
    /// A value of which nothing is known.
    pub const UNKNOWN: Self = Self::Unknown(Leaning::Any);

    /// Makes a text.
    #[must_use]
    pub fn string(text: &str) -> Self {
        Self::String(text.into())
    }

    /// Makes a list.
    #[must_use]
    pub fn array(items: Vec<Self>) -> Self {
        Self::Array(items.into())
    }

    /// Makes an object.
    pub fn object<K: Into<Arc<str>>>(entries: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Object(Arc::new(Object::new(entries)))
    }

    /// Tells whether it counts as true; `None` if that is unknown.
    ///
    /// False are: null, `false`, zero, NaN, and the empty text.
    #[must_use]
    pub fn truth(&self) -> Option<bool> {
        match self {
            Self::Unknown(Leaning::Any) => None,
            Self::Unknown(leaning) => Some(*leaning == Leaning::Truthy),
            Self::Null => Some(false),
            Self::Bool(value) => Some(*value),
            Self::Number(value) => Some(*value != 0.0 && !value.is_nan()),
            Self::String(text) => Some(!text.is_empty()),
            Self::Array(_) | Self::Object(_) => Some(true),
        }
    }

    /// Tells whether nothing in it, however deep, is unknown.
    #[must_use]
    pub fn is_known(&self) -> bool {
        match self {
            Self::Unknown(_) => false,
            Self::Array(items) => items.iter().all(Self::is_known),
            Self::Object(object) => !object.open && object.entries.iter().all(|(_, value)| value.is_known()),
            _ => true,
        }
    }

    /// Tells whether it is null, a truth value, a number or a text.
    #[must_use]
    pub fn is_primitive(&self) -> bool {
        matches!(self, Self::Null | Self::Bool(_) | Self::Number(_) | Self::String(_))
    }

    /// Returns it as text, as `${{ }}` shows it; `None` if it is unknown.
    #[must_use]
    pub fn text(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Unknown(_) => return None,
            Self::Null => "".into(),
            Self::Bool(true) => "true".into(),
            Self::Bool(false) => "false".into(),
            Self::Number(value) => number::print(*value).into(),
            Self::String(text) => (&**text).into(),
            Self::Array(_) => "Array".into(),
            Self::Object(_) => "Object".into(),
        })
    }

    /// Returns it as a number, NaN if it is none; `None` if it is unknown.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        Some(match self {
            Self::Unknown(_) => return None,
            Self::Null => 0.0,
            Self::Bool(value) => f64::from(u8::from(*value)),
            Self::Number(value) => *value,
            Self::String(text) => number::parse(text),
            Self::Array(_) | Self::Object(_) => f64::NAN,
        })
    }

    /// Compares as `==` in an expression does; `None` if that is unknown.
    ///
    /// Texts are compared without regard to case, unlike kinds as numbers. Lists and objects equal only themselves:
    /// the same instance, not the same contents.
    #[must_use]
    pub fn loosely_equals(&self, other: &Self) -> Option<bool> {
        Some(match coerced(self, other)? {
            Pair::Numbers(left, right) => left == right,
            Pair::Strings(left, right) => compare_text(left, right).is_eq(),
            Pair::Nulls => true,
            Pair::Bools(left, right) => left == right,
            Pair::Arrays(left, right) => Arc::ptr_eq(left, right),
            Pair::Objects(left, right) => Arc::ptr_eq(left, right),
            Pair::Unlike => false,
        })
    }

    /// Tells whether it is greater as `>` in an expression tells; `None` if that is unknown.
    #[must_use]
    pub fn is_greater(&self, other: &Self) -> Option<bool> {
        Some(match coerced(self, other)? {
            Pair::Numbers(left, right) => left > right,
            Pair::Strings(left, right) => compare_text(left, right).is_gt(),
            Pair::Bools(left, right) => left & !right,
            Pair::Nulls | Pair::Arrays(..) | Pair::Objects(..) | Pair::Unlike => false,
        })
    }

    /// Returns how many bytes of text it holds at its top level, as a measure of work.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::String(text) => text.len(),
            Self::Array(items) => items.len(),
            Self::Object(object) => object.entries.len(),
            _ => 1,
        }
    }
}

/// Two values made alike, by the rules of `CoerceTypes` in `actions/runner`.
enum Pair<'a> {
    Nulls,
    Bools(bool, bool),
    Numbers(f64, f64),
    Strings(&'a str, &'a str),
    Arrays(&'a Arc<[Value]>, &'a Arc<[Value]>),
    Objects(&'a Arc<Object>, &'a Arc<Object>),
    Unlike,
}

fn coerced<'a>(left: &'a Value, right: &'a Value) -> Option<Pair<'a>> {
    use Value as V;
    Some(match (left, right) {
        (V::Unknown(_), _) | (_, V::Unknown(_)) => return None,
        (V::Null, V::Null) => Pair::Nulls,
        (V::Bool(left), V::Bool(right)) => Pair::Bools(*left, *right),
        (V::String(left), V::String(right)) => Pair::Strings(left, right),
        (V::Array(left), V::Array(right)) => Pair::Arrays(left, right),
        (V::Object(left), V::Object(right)) => Pair::Objects(left, right),
        (V::Array(_) | V::Object(_), _) | (_, V::Array(_) | V::Object(_)) => Pair::Unlike,
        _ => Pair::Numbers(left.number()?, right.number()?),
    })
}

/// Maps a character to the upper case that stands for both cases, if that is one character.
pub(super) fn fold(character: char) -> char {
    let mut upper = character.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(single), None) => single,
        _ => character,
    }
}

/// Orders texts without regard to case.
fn compare_text(left: &str, right: &str) -> Ordering {
    left.chars().map(fold).cmp(right.chars().map(fold))
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<Option<bool>> for Value {
    fn from(value: Option<bool>) -> Self {
        value.map_or(Self::UNKNOWN, Self::Bool)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::string(text)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text.into())
    }
}

/// Writes JSON. Fails on unknown values and on numbers that JSON does not have.
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unknown(_) => Err(S::Error::custom("a value is not yet known")),
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(value) if !value.is_finite() => {
                Err(S::Error::custom(format_args!("{} cannot be written in JSON", number::print(*value))))
            }
            #[expect(clippy::cast_possible_truncation, reason = "the guard holds it within 2^53")]
            Self::Number(value) if value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0 => {
                serializer.serialize_i64(*value as i64)
            }
            Self::Number(value) => serializer.serialize_f64(*value),
            Self::String(text) => serializer.serialize_str(text),
            Self::Array(items) => serializer.collect_seq(items.iter()),
            Self::Object(object) if object.open => Err(S::Error::custom("an object is not yet wholly known")),
            Self::Object(object) => {
                let mut map = serializer.serialize_map(Some(object.entries.len()))?;
                for (name, value) in &object.entries {
                    map.serialize_entry(&**name, value)?;
                }
                map.end()
            }
        }
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value))
    }

    #[expect(clippy::cast_precision_loss, reason = "all numbers of the language are doubles")]
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value as f64))
    }

    #[expect(clippy::cast_precision_loss, reason = "all numbers of the language are doubles")]
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value as f64))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::string(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element()? {
            all.push(item);
        }
        Ok(Value::array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut all: Vec<(String, Value)> = Vec::new();
        while let Some(entry) = map.next_entry()? {
            all.push(entry);
        }
        Ok(Value::object(all))
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_greater_than_itself() {
        let (three, four) = (Value::Number(3.0), Value::Number(4.0));
        assert_eq!((three.is_greater(&three), four.is_greater(&three)), (Some(false), Some(true)));
    }
}
