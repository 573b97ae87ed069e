//! What the functions do.

use std::sync::Arc;

use super::{
    Function,
    context::{Context, EvalErrorKind, Fuel, Status},
    value::{Leaning, Value, fold},
};

type Called = Result<Value, EvalErrorKind>;

/// Calls a function with evaluated arguments.
pub(super) fn call(
    function: Function,
    arguments: &[Value],
    context: &dyn Context,
    fuel: &mut Fuel,
) -> Called {
    fuel.burn(arguments.iter().map(Value::weight).sum())?;
    let argument = |at: usize| arguments.get(at).unwrap_or(&Value::Null);
    match function {
        Function::Contains => contains(argument(0), argument(1), fuel),
        Function::StartsWith => Ok(affix(argument(0), argument(1), |text, part| text.starts_with(part))),
        Function::EndsWith => Ok(affix(argument(0), argument(1), |text, part| text.ends_with(part))),
        Function::Format => format(argument(0), &arguments[1..], fuel),
        Function::Join => join(argument(0), arguments.get(1), fuel),
        Function::ToJson => to_json(argument(0), fuel),
        Function::FromJson => from_json(argument(0)),
        Function::HashFiles => Ok(hash_files(arguments, context)),
        Function::Success => Ok(context.status(Status::Success).into()),
        Function::Failure => Ok(context.status(Status::Failure).into()),
        Function::Cancelled => Ok(context.status(Status::Cancelled).into()),
        Function::Always => Ok(true.into()),
        // Evaluated lazily by the caller.
        Function::Case => Ok(Value::UNKNOWN),
    }
}

fn folded(text: &str) -> String {
    text.chars().map(fold).collect()
}

fn affix(text: &Value, part: &Value, holds: fn(&str, &str) -> bool) -> Value {
    match (text, part) {
        (Value::Unknown(_), _) | (_, Value::Unknown(_)) => Value::UNKNOWN,
        (text, part) if text.is_primitive() && part.is_primitive() => {
            let part = folded(&part.text().unwrap_or_default());
            holds(&folded(&text.text().unwrap_or_default()), &part).into()
        }
        _ => false.into(),
    }
}

fn contains(search: &Value, item: &Value, fuel: &mut Fuel) -> Called {
    match search {
        Value::Array(items) => {
            let mut unknown = false;
            for candidate in items.iter() {
                fuel.burn(candidate.weight().min(item.weight()))?;
                match candidate.loosely_equals(item) {
                    Some(true) => return Ok(true.into()),
                    Some(false) => {}
                    None => unknown = true,
                }
            }
            Ok(if unknown { Value::UNKNOWN } else { false.into() })
        }
        _ => Ok(affix(search, item, |text, part| text.contains(part))),
    }
}

/// Replaces `{0}` and so on; `{{` and `}}` stand for braces.
fn format(text: &Value, arguments: &[Value], fuel: &mut Fuel) -> Called {
    let Some(format) = text.text() else { return Ok(Value::UNKNOWN) };
    let malformed = || EvalErrorKind::Format(format.clone().into_owned());
    let mut out = String::new();
    let mut known = true;
    let mut rest = &*format;
    while let Some(at) = rest.find(['{', '}']) {
        out.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            out.push_str(brace);
            rest = after;
            continue;
        }
        let (number, after) = rest.split_once('}').filter(|_| brace == "{").ok_or_else(malformed)?;
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(malformed());
        }
        let number: usize = number.parse().map_err(|_| malformed())?;
        match arguments.get(number).ok_or(EvalErrorKind::FormatArgument(number))?.text() {
            Some(text) => {
                fuel.burn(text.len())?;
                out.push_str(&text);
            }
            None => known = false,
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(if known { out.into() } else { Value::UNKNOWN })
}

fn join(items: &Value, separator: Option<&Value>, fuel: &mut Fuel) -> Called {
    let items = match items {
        Value::Array(items) => items,
        Value::Unknown(_) => return Ok(Value::UNKNOWN),
        Value::Object(_) => return Ok("".into()),
        primitive => return Ok(primitive.text().unwrap_or_default().into_owned().into()),
    };
    let separator = match separator {
        None => Some(",".into()),
        Some(Value::Array(_) | Value::Object(_)) => Some("".into()),
        Some(value) => value.text(),
    };
    let mut out = String::new();
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            let Some(separator) = &separator else { return Ok(Value::UNKNOWN) };
            out.push_str(separator);
            fuel.burn(separator.len())?;
        }
        let Some(text) = item.text() else { return Ok(Value::UNKNOWN) };
        fuel.burn(text.len())?;
        out.push_str(&text);
    }
    Ok(out.into())
}

fn hash_files(patterns: &[Value], context: &dyn Context) -> Value {
    let Some(texts) = patterns.iter().map(Value::text).collect::<Option<Vec<_>>>() else {
        return Value::UNKNOWN;
    };
    let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
    context.hash_files(&texts).map_or(Value::UNKNOWN, Value::from)
}

fn from_json(text: &Value) -> Called {
    let Some(text) = text.text() else { return Ok(Value::UNKNOWN) };
    serde_json::from_str(&text).map_err(|error| EvalErrorKind::Json(error.to_string()))
}

/// Writes JSON with two blanks of indent, as GitHub does.
fn to_json(value: &Value, fuel: &mut Fuel) -> Called {
    if !known(value, fuel)? {
        // JSON text is never empty.
        return Ok(Value::Unknown(Leaning::Truthy));
    }
    let text =
        serde_json::to_string_pretty(value).map_err(|error| EvalErrorKind::NoJson(error.to_string()))?;
    fuel.burn(text.len())?;
    Ok(Value::String(Arc::from(text)))
}

/// Tells whether all of it is known, burning fuel for all of it.
fn known(value: &Value, fuel: &mut Fuel) -> Result<bool, EvalErrorKind> {
    fuel.burn(1 + value.weight())?;
    match value {
        Value::Unknown(_) => Ok(false),
        Value::Array(items) => items.iter().try_fold(true, |all, item| Ok(all & known(item, fuel)?)),
        Value::Object(object) => {
            let mut entries = object.entries().iter();
            entries.try_fold(!object.is_open(), |all, (_, item)| Ok(all & known(item, fuel)?))
        }
        _ => Ok(true),
    }
}
