//! Evaluation: pure, three-valued, and bounded by fuel.

use super::{
    Function,
    call::call,
    context::{Context, EvalError, EvalErrorKind, Fuel, Resolved},
    syntax::{Comparison, Key, Literal, Node, NodeKind, Span, Step},
    value::{Leaning, Value},
};

/// Evaluates a syntax tree.
///
/// # Errors
///
/// Fails on a name that `context` does not know, a call with unusable arguments, and when `fuel` is used up.
pub fn evaluate(node: &Node, context: &dyn Context, fuel: &mut Fuel) -> Result<Value, EvalError> {
    Evaluator { context, fuel }.node(node).map(|out| out.value)
}

/// A value, and whether it is the result of a wildcard, into whose items the next step goes.
#[derive(Clone)]
struct Out {
    value: Value,
    filtered: bool,
}

impl From<Value> for Out {
    fn from(value: Value) -> Self {
        Self { value, filtered: false }
    }
}

/// The value of a step's key.
enum KeyValue {
    Wildcard,
    One(Value),
}

struct Evaluator<'a> {
    context: &'a dyn Context,
    fuel: &'a mut Fuel,
}

const UNKNOWN_ARRAY: Value = Value::Unknown(Leaning::Truthy);

impl Evaluator<'_> {
    fn burn(&mut self, span: Span, units: usize) -> Result<(), EvalError> {
        self.fuel.burn(units).map_err(|kind| EvalError { span, kind })
    }

    fn node(&mut self, node: &Node) -> Result<Out, EvalError> {
        self.burn(node.span, 1)?;
        Ok(match &node.kind {
            NodeKind::Literal(Literal::Null) => Value::Null.into(),
            NodeKind::Literal(Literal::Bool(value)) => Value::Bool(*value).into(),
            NodeKind::Literal(Literal::Number(value)) => Value::Number(*value).into(),
            NodeKind::Literal(Literal::String(text)) => Value::String(text.clone()).into(),
            NodeKind::Name(name) => match self.context.resolve(&[name]) {
                Some(resolved) => resolved.value.into(),
                None => return Err(unknown_name(name, node.span)),
            },
            NodeKind::Access { base, path } => return self.access(base, path),
            NodeKind::Not(operand) => {
                Value::from(self.node(operand)?.value.truth().map(|truth| !truth)).into()
            }
            NodeKind::And(operands) => return self.chain(operands, false),
            NodeKind::Or(operands) => return self.chain(operands, true),
            NodeKind::Compare { comparison, left, right } => {
                let (left, right) = (self.node(left)?.value, self.node(right)?.value);
                self.burn(node.span, left.weight().min(right.weight()))?;
                Value::from(compare(*comparison, &left, &right)).into()
            }
            NodeKind::Call { function: Function::Case, arguments } => return self.case(arguments),
            NodeKind::Call { function, arguments } => {
                let arguments: Vec<Value> = arguments
                    .iter()
                    .map(|node| Ok(self.node(node)?.value))
                    .collect::<Result<_, EvalError>>()?;
                let context = self.context;
                call(*function, &arguments, context, self.fuel)
                    .map_err(|kind| EvalError { span: node.span, kind })?
                    .into()
            }
        })
    }

    /// Evaluates what may not be evaluated at all, since that depends on an unknown: an error is one more unknown.
    fn maybe(&mut self, node: &Node) -> Result<Out, EvalError> {
        match self.node(node) {
            Err(error) if error.kind != EvalErrorKind::OutOfFuel => Ok(Value::UNKNOWN.into()),
            other => other,
        }
    }

    /// Evaluates `&&` or `||`: the first operand whose truth is `decisive`, or else the last.
    fn chain(&mut self, operands: &[Node], decisive: bool) -> Result<Out, EvalError> {
        let mut last = Out::from(Value::Null);
        let mut uncertain = false;
        for operand in operands {
            last = if uncertain { self.maybe(operand)? } else { self.node(operand)? };
            match last.value.truth() {
                Some(truth) if truth == decisive && uncertain => {
                    // An earlier operand may have been taken instead; either way it is decided.
                    let leaning = if decisive { Leaning::Truthy } else { Leaning::Falsy };
                    return Ok(Value::Unknown(leaning).into());
                }
                Some(truth) if truth == decisive => return Ok(last),
                Some(_) => {}
                None => uncertain = true,
            }
        }
        Ok(if uncertain { Value::UNKNOWN.into() } else { last })
    }

    fn case(&mut self, arguments: &[Node]) -> Result<Out, EvalError> {
        for pair in arguments.chunks(2) {
            let [condition, value] = pair else { break };
            match self.node(condition)?.value.truth() {
                Some(true) => return self.node(value),
                Some(false) => {}
                None => return Ok(Value::UNKNOWN.into()),
            }
        }
        match arguments.last() {
            Some(otherwise) => self.node(otherwise),
            None => Ok(Value::Null.into()),
        }
    }

    fn access(&mut self, base: &Node, path: &[Step]) -> Result<Out, EvalError> {
        let keys = path.iter().map(|step| self.key(step)).collect::<Result<Vec<_>, _>>()?;
        let (mut at, done) = match &base.kind {
            NodeKind::Name(name) => self.resolve(name, base.span, &keys)?,
            _ => (self.node(base)?, 0),
        };
        for (step, key) in path.iter().zip(&keys).skip(done) {
            self.burn(step.span, 1 + at.value.weight())?;
            at = match key {
                KeyValue::Wildcard => self.wildcard(&at, step.span)?,
                KeyValue::One(key) if at.filtered => Out { value: filter(&at.value, key), filtered: true },
                KeyValue::One(key) => index(&at.value, key).into(),
            };
        }
        Ok(at)
    }

    fn key(&mut self, step: &Step) -> Result<KeyValue, EvalError> {
        Ok(match &step.key {
            Key::Wildcard => KeyValue::Wildcard,
            Key::Property(name) => KeyValue::One(Value::String(name.clone())),
            Key::Index(index) => KeyValue::One(self.node(index)?.value),
        })
    }

    /// Asks the context for as long a path as it likes, and returns how many steps that took.
    fn resolve(&mut self, name: &str, span: Span, keys: &[KeyValue]) -> Result<(Out, usize), EvalError> {
        let texts: Vec<_> = keys
            .iter()
            .map_while(|key| match key {
                KeyValue::One(key) if key.is_primitive() => key.text(),
                _ => None,
            })
            .collect();
        let names: Vec<&str> = std::iter::once(name).chain(texts.iter().map(|text| &**text)).collect();
        self.burn(span, names.len())?;
        let Resolved { value, used } =
            self.context.resolve(&names).ok_or_else(|| unknown_name(name, span))?;
        Ok((value.into(), used.clamp(1, names.len()) - 1))
    }

    fn wildcard(&mut self, at: &Out, span: Span) -> Result<Out, EvalError> {
        let mut items = Vec::new();
        let known = if at.filtered {
            match &at.value {
                Value::Array(inner) => {
                    let units = inner.iter().map(Value::weight).sum();
                    self.burn(span, units)?;
                    inner.iter().all(|value| spread(value, &mut items))
                }
                _ => false,
            }
        } else {
            spread(&at.value, &mut items)
        };
        let value = if known { Value::array(items) } else { UNKNOWN_ARRAY };
        Ok(Out { value, filtered: true })
    }
}

fn unknown_name(name: &str, span: Span) -> EvalError {
    EvalError { span, kind: EvalErrorKind::UnknownName(name.to_owned()) }
}

/// Adds all entries of `value`; `false` if they are not all known.
fn spread(value: &Value, into: &mut Vec<Value>) -> bool {
    match value {
        Value::Unknown(_) => return false,
        Value::Array(items) => into.extend(items.iter().cloned()),
        Value::Object(object) => {
            into.extend(object.entries().iter().map(|(_, value)| value.clone()));
            return !object.is_open();
        }
        _ => {}
    }
    true
}

/// Steps into a value; null where there is nothing.
fn index(base: &Value, key: &Value) -> Value {
    match find(base, key) {
        Found::Value(value) => value,
        Found::Nothing => Value::Null,
        Found::Unknown => Value::UNKNOWN,
    }
}

/// Steps into every item, leaving out those where there is nothing.
fn filter(items: &Value, key: &Value) -> Value {
    let Value::Array(items) = items else { return UNKNOWN_ARRAY };
    let mut kept = Vec::new();
    for item in items.iter() {
        match find(item, key) {
            Found::Value(value) => kept.push(value),
            Found::Nothing => {}
            Found::Unknown => return UNKNOWN_ARRAY,
        }
    }
    Value::array(kept)
}

enum Found {
    Value(Value),
    Nothing,
    Unknown,
}

fn find(base: &Value, key: &Value) -> Found {
    match (base, key) {
        (Value::Unknown(_), _) | (Value::Array(_) | Value::Object(_), Value::Unknown(_)) => Found::Unknown,
        (Value::Object(object), key) if key.is_primitive() => {
            match key.text().as_deref().and_then(|name| object.get(name)) {
                Some(value) => Found::Value(value.clone()),
                None if object.is_open() => Found::Unknown,
                None => Found::Nothing,
            }
        }
        (Value::Array(items), key) if key.is_primitive() => {
            let at = key.number().unwrap_or(f64::NAN).floor();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "saturates, and is in range"
            )]
            let item = if at >= 0.0 { items.get(at as usize) } else { None };
            item.map_or(Found::Nothing, |item| Found::Value(item.clone()))
        }
        _ => Found::Nothing,
    }
}

fn compare(comparison: Comparison, left: &Value, right: &Value) -> Option<bool> {
    let (equal, greater) = (|| left.loosely_equals(right), || left.is_greater(right));
    let less = || right.is_greater(left);
    Some(match comparison {
        Comparison::Equal => equal()?,
        Comparison::NotEqual => !equal()?,
        Comparison::Greater => greater()?,
        Comparison::GreaterOrEqual => greater()? || equal()?,
        Comparison::Less => less()?,
        Comparison::LessOrEqual => less()? || equal()?,
    })
}
