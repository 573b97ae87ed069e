//! Tests of the language: tables of what GitHub does, and properties.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A context of named values, the rest being unknown names.
#[derive(Debug, Default, Clone)]
struct Names {
    values: BTreeMap<&'static str, Value>,
    success: Option<bool>,
}

impl Context for Names {
    fn lookup(&self, name: &str) -> Option<Value> {
        self.values.get(name.to_ascii_lowercase().as_str()).cloned()
    }

    fn status(&self, status: Status) -> Option<bool> {
        match status {
            Status::Success => self.success,
            Status::Failure => self.success.map(|success| !success),
            Status::Always => panic!("always() is never asked"),
            Status::Cancelled => Some(false),
        }
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn world() -> Names {
    let mut values = BTreeMap::new();
    values.insert("a", json(r#"{"b": {"c": "deep"}, "list": [1, "two", null], "Key": 7, "it's": 8}"#));
    values.insert(
        "jobs",
        json(r#"{"x": {"result": "success", "n": [1, 2]}, "y": {"result": "failure"}, "z": 3}"#),
    );
    values.insert("u", Value::UNKNOWN);
    values.insert("open", Value::Object(Arc::new(Object::open([("known", Value::from("yes"))]))));
    values.insert("half", Value::array(vec![Value::from(1.0), Value::UNKNOWN]));
    Names { values, success: None }
}

/// Shows a value, unknowns too.
fn show(value: &Value) -> String {
    match value {
        Value::Unknown(Leaning::Any) => "?".into(),
        Value::Unknown(leaning) => format!("?{leaning:?}").to_lowercase(),
        Value::Array(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", ")),
        Value::Object(object) => {
            let entries = object.entries().iter().map(|(name, value)| format!("{name}: {}", show(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        Value::String(text) => format!("'{text}'"),
        other => other.text().unwrap().into_owned().replace('\n', "\\n"),
    }
}

fn eval(source: &str) -> String {
    match Expr::parse(source) {
        Err(error) => format!("parse {}..{}: {error}", error.span.start, error.span.end),
        Ok(expr) => match expr.evaluate(&world()) {
            Err(error) => format!("eval {}..{}: {error}", error.span.start, error.span.end),
            Ok(Value::Null) => "null".into(),
            Ok(value) => show(&value),
        },
    }
}

#[test]
fn values_are_those_of_github() {
    let cases = [
        // Literals.
        ("null", "null"),
        ("true", "true"),
        ("'it''s'", "'it's'"),
        ("0xff", "255"),
        ("-1.5e3", "-1500"),
        (".5", "0.5"),
        ("+.5", "0.5"),
        ("NaN == NaN", "false"),
        // Equality and coercion.
        ("'ABC' == 'abc'", "true"),
        ("'ÄB' == 'äb'", "true"),
        ("1 == '1'", "true"),
        ("0 == ''", "true"),
        ("null == 0", "true"),
        ("null == ''", "true"),
        ("true == 1", "true"),
        ("true == 'true'", "false"),
        ("'abc' != 'abd'", "true"),
        ("a == a", "true"),
        ("a.list == a.list", "true"),
        ("a.list == a", "false"),
        ("fromJSON('[1]') == fromJSON('[1]')", "false"),
        ("fromJSON('[1]') == 1", "false"),
        ("null >= null", "true"),
        ("null > null", "false"),
        ("'b' > 'A'", "true"),
        ("'10' > 9", "true"),
        ("'x' > 9", "false"),
        ("'x' <= 9", "false"),
        ("1 < 2 == true", "true"),
        // Logic returns operands.
        ("'' || 'x'", "'x'"),
        ("'a' && 'b'", "'b'"),
        ("0 && 'b'", "0"),
        ("null || false || 0", "0"),
        ("!'' && !0 && !null && !NaN", "true"),
        ("!a", "false"),
        ("!!'x'", "true"),
        ("true || fromJSON('bad')", "true"),
        ("false && fromJSON('bad')", "false"),
        // Steps.
        ("a.b.c", "'deep'"),
        ("a['b'].c", "'deep'"),
        ("a.B.C", "'deep'"),
        ("a.key", "7"),
        ("a['it''s']", "8"),
        ("A.list[1]", "'two'"),
        ("a.list['1']", "'two'"),
        ("a.list[1.9]", "'two'"),
        ("a.list[-1]", "null"),
        ("a.list[9]", "null"),
        ("a.nothing.at.all", "null"),
        ("a.b.c.d", "null"),
        ("jobs.*.result", "['success', 'failure']"),
        ("jobs[*].result", "['success', 'failure']"),
        ("jobs.*.n.*", "[1, 2]"),
        ("jobs.*.n[0]", "[1]"),
        ("(jobs.*).result", "['success', 'failure']"),
        ("jobs.*.nothing", "[]"),
        ("null.*", "[]"),
        ("contains(jobs.*.result, 'FAILURE')", "true"),
        ("a[format('{0}', 'b')].c", "'deep'"),
        // Functions.
        ("contains('Hello', 'ELL')", "true"),
        ("contains(123, 2)", "true"),
        ("contains(a, 'b')", "false"),
        ("startsWith('Hello', 'he')", "true"),
        ("ENDSWITH('Hello', 'LO')", "true"),
        ("format('{0}-{1}-{{}}', 'a', 1)", "'a-1-{}'"),
        ("join(a.list)", "'1,two,'"),
        ("join(a.list, '; ')", "'1; two; '"),
        ("join('x')", "'x'"),
        (
            "toJSON(fromJSON('{\"b\":[1,{}],\"a\":null}'))",
            "'{\n  \"b\": [\n    1,\n    {}\n  ],\n  \"a\": null\n}'",
        ),
        ("fromJSON('[1, 2.5, \"x\"]')", "[1, 2.5, 'x']"),
        ("case(false, 1, true, 2, 3)", "2"),
        ("case(false, 1, 3)", "3"),
        ("always()", "true"),
        ("cancelled()", "false"),
        ("hashFiles('**/lock')", "?"),
    ];
    for (source, expected) in cases {
        assert_eq!(eval(source), expected, "{source}");
    }
}

#[test]
fn unknowns_go_as_far_as_they_must() {
    let cases = [
        ("u", "?"),
        ("!u", "?"),
        ("u == 1", "?"),
        ("u && false", "?falsy"),
        ("false && u", "false"),
        ("u || true", "?truthy"),
        ("true || u", "true"),
        ("u && true", "?"),
        ("!(u && false)", "true"),
        ("!(u || 'x')", "false"),
        ("u && fromJSON('bad')", "?"),
        ("u.a.b", "?"),
        ("u.*.b", "?truthy"),
        ("open.known", "'yes'"),
        ("open.KNOWN", "?"),
        ("open.other", "?"),
        ("open.*", "?truthy"),
        ("half[0]", "1"),
        ("half[1]", "?"),
        ("half[2]", "null"),
        ("contains(half, 1)", "true"),
        ("contains(half, 2)", "?"),
        ("join(half)", "?"),
        ("toJSON(half)", "?truthy"),
        ("format('{0}', u)", "?"),
        ("format('x')", "'x'"),
        ("fromJSON(u)", "?"),
        ("success()", "?"),
        ("failure() || always()", "?truthy"),
        ("case(u, 1, 2)", "?"),
        ("case(true, 1, u, 2, 3)", "1"),
    ];
    for (source, expected) in cases {
        assert_eq!(eval(source), expected, "{source}");
    }
}

#[test]
fn broken_expressions_say_where() {
    let cases = [
        ("", "parse 0..0: expected an expression, found nothing"),
        ("  ", "parse 0..2: expected an expression, found nothing"),
        ("a ==", "parse 4..4: expected an operand before the end"),
        ("a = b", "parse 2..3: unexpected character `=`"),
        ("'abc", "parse 0..4: the string is not closed"),
        ("\"abc\"", "parse 0..1: unexpected character `\\\"`"),
        ("a b", "parse 2..3: expected an operator or the end"),
        ("a.", "parse 2..2: expected a property name or `*` after `.`"),
        ("a[1", "parse 3..3: expected `]`"),
        ("(a", "parse 2..2: expected `)`"),
        ("contains('a')", "parse 0..13: `contains` takes 2 arguments, found 1"),
        ("success(1)", "parse 0..10: `success` takes no arguments, found 1"),
        (
            "case(1, 2)",
            "parse 0..10: `case` takes pairs of a condition and a value, and one value more, found 2",
        ),
        ("nope(1)", "parse 0..4: unknown function `nope`"),
        ("1-2", "parse 0..3: `1-2` is not a number"),
        ("a + b", "parse 2..3: unexpected character `+`"),
        ("a && || b", "parse 5..7: expected a value, a name or a call"),
        ("ä", "parse 0..2: unexpected character `\\u{e4}`"),
        ("nobody.x", "eval 0..6: unknown name `nobody`"),
        (
            "true && fromJSON('{')",
            "eval 8..21: no valid JSON: EOF while parsing an object at line 1 column 1",
        ),
        ("format('{0} {1}', 1)", "eval 0..20: the format asks for argument 1, which is not there"),
        ("format('{')", "eval 0..11: the format `{` is malformed"),
        ("format('}')", "eval 0..11: the format `}` is malformed"),
        ("format('{x}', 1)", "eval 0..16: the format `{x}` is malformed"),
    ];
    for (source, expected) in cases {
        assert_eq!(eval(source), expected, "{source}");
    }
}

#[test]
fn depth_length_and_work_are_bounded() {
    let deep = |open: &str, close: &str, n: usize| format!("{}a{}", open.repeat(n), close.repeat(n));
    let kind = |source: &str| Expr::parse(source).unwrap_err().kind;
    assert!(Expr::parse(&deep("(", ")", 49)).is_ok());
    for source in [
        deep("(", ")", 10_000),
        deep("!", "", 20_000),
        deep("a[", "]", 5_000),
        deep("toJSON(", ")", 2_000),
        format!("1{}", " == 1".repeat(4_000)),
    ] {
        assert_eq!(kind(&source), ParseErrorKind::TooDeep, "{}", &source[..20]);
    }
    assert_eq!(kind(&"a".repeat(LIMIT_SOURCE + 1)), ParseErrorKind::TooLong);
    // Nor are paths that go on behind parentheses.
    assert!(Expr::parse(&format!("{}a{}", "(".repeat(48), ".b)".repeat(48))).is_ok());
    // Long chains are no deep ones.
    assert!(Expr::parse(&format!("a{}", " && a".repeat(4_000))).is_ok());
    assert!(Expr::parse(&format!("a{}", ".b".repeat(10_000))).is_ok());
    // Doubling forty times would be a terabyte.
    let bomb = (0..40).fold("'x'".to_owned(), |inner, _| format!("format('{{0}}{{0}}', {inner})"));
    // What may not be looked at at all is no way around the bound.
    for source in [bomb.clone(), format!("u && {bomb}")] {
        let error = Expr::parse(&source).unwrap().evaluate(&world()).unwrap_err();
        assert_eq!(error.kind, EvalErrorKind::OutOfFuel);
    }
}

#[test]
fn a_context_may_answer_whole_paths() {
    struct Paths;
    impl Context for Paths {
        fn lookup(&self, _: &str) -> Option<Value> {
            None
        }
        fn resolve(&self, path: &[&str]) -> Option<Resolved> {
            let used = path.len().min(3);
            Some(Resolved { value: Value::object([("v", path[..used].join("/").into())]), used })
        }
        fn status(&self, _: Status) -> Option<bool> {
            None
        }
    }
    let text = |source: &str| show(&Expr::parse(source).unwrap().evaluate(&Paths).unwrap());
    assert_eq!(text("tasks.x.outputs.v"), "'tasks/x/outputs'");
    assert_eq!(text("tasks[format('y{0}', 1)].outputs.v"), "'tasks/y1/outputs'");
    assert_eq!(text("tasks.*"), "['tasks']");
    assert_eq!(text("tasks"), "{v: 'tasks'}");
}

#[test]
fn references_are_found() {
    let found = |source: &str| -> Vec<String> {
        let expr = Expr::parse(source).unwrap();
        let references = expr.root().references();
        references
            .iter()
            .map(|reference| {
                let path: Vec<_> = reference.path.iter().map(|(name, _)| *name).collect();
                path.join(".") + if reference.whole { "" } else { "…" }
            })
            .collect()
    };
    assert_eq!(found("a.b['c'] == d && contains(e.*.f, g[h.i].j)"), ["a.b.c", "d", "e…", "g…", "h.i"]);
    assert!(Expr::parse("a || !(b && failure())").unwrap().asks_status());
    assert!(!Expr::parse("failures.x").unwrap().asks_status());
}

#[test]
fn numbers_beyond_all_bounds_are_written_by_their_names() {
    for (source, text) in [("1e999", "Infinity"), ("-1e999", "-Infinity"), ("NaN", "NaN"), ("1e15", "1e15")] {
        assert_eq!(Expr::parse(source).unwrap().root().to_string(), text);
    }
}

#[test]
fn a_path_is_plain_where_nothing_is_computed() {
    let plain = |source: &str| Expr::parse(source).unwrap().root().is_plain();
    for source in ["'x'", "github", "a.b['c'].*.d"] {
        assert!(plain(source), "{source}");
    }
    for source in ["!a", "a == b", "a && b", "f.x[g.y == 1]", "a[b]", "success()", "fromJSON(a).b"] {
        assert!(!plain(source), "{source}");
    }
}

#[test]
fn templates_render_values_as_github_does() {
    let render = |source: &str| match Template::parse(source) {
        Err(error) => format!("parse {}..{}: {error}", error.span.start, error.span.end),
        Ok(template) => match template.render(&world()) {
            Err(error) => format!("eval {}..{}: {error}", error.span.start, error.span.end),
            Ok(text) => text,
        },
    };
    let cases = [
        ("plain", "plain"),
        ("", ""),
        ("v=${{ a.key }}!", "v=7!"),
        ("${{a.list}} ${{ a }} ${{ null }}|${{ true }}", "Array Object |true"),
        ("${{ '}}' }}${{ 'a''}}''b' }}", "}}a'}}'b"),
        ("$${{ 1 }} $ {{ 2 }} }}", "$1 $ {{ 2 }} }}"),
        ("ä ${{ b }}", "eval 7..8: unknown name `b`"),
        ("x ${{ a ", "parse 2..8: `${{` is not closed by `}}`"),
        ("x ${{ }}", "parse 2..8: expected an expression, found nothing"),
        ("x ${{ a b }}", "parse 8..9: expected an operator or the end"),
        ("x ${{ u }}", "eval 0..10: the value is not yet known"),
    ];
    for (source, expected) in cases {
        assert_eq!(render(source), expected, "{source}");
    }
    let value = |source: &str| show(&Template::parse(source).unwrap().evaluate(&world()).unwrap());
    assert_eq!(value("${{ a.list }}"), "[1, 'two', ]");
    assert_eq!(value("x${{ u }}"), "?truthy");
}

#[test]
fn the_serialised_form_is_the_source() {
    let expr = Expr::parse("a.b  ==  'x'").unwrap();
    let text = serde_json::to_string(&expr).unwrap();
    assert_eq!(text, r#""a.b  ==  'x'""#);
    assert_eq!(serde_json::from_str::<Expr>(&text).unwrap(), expr);
    assert!(serde_json::from_str::<Expr>("\"a ==\"").is_err());
    let template = Template::parse("x ${{ a }}").unwrap();
    let text = serde_json::to_string(&template).unwrap();
    assert_eq!(serde_json::from_str::<Template>(&text).unwrap(), template);
    let value = json(r#"{"b":[1,2.5,"x",null,true],"a":{}}"#);
    assert_eq!(serde_json::to_string(&value).unwrap(), r#"{"b":[1,2.5,"x",null,true],"a":{}}"#);
    assert!(serde_json::to_string(&Value::UNKNOWN).is_err());
    assert!(serde_json::to_string(&Value::Number(f64::INFINITY)).is_err());
}

/// Makes expressions over the names of [`arbitrary_names`].
fn arbitrary_source() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        (-3_i32..4).prop_map(|value| value.to_string()),
        "[a-c' ]{0,2}".prop_map(|text| format!("'{}'", text.replace('\'', "''"))),
        proptest::sample::select(vec!["x", "y", "z", "success()", "failure()", "always()", "'[1,null]'"])
            .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 40, 3, |inner| {
        let two = (inner.clone(), inner.clone());
        let operator = proptest::sample::select(vec!["&&", "||", "==", "!=", "<", "<=", ">", ">="]);
        let function = proptest::sample::select(vec!["contains", "startsWith", "endsWith", "join"]);
        prop_oneof![
            (two.clone(), operator).prop_map(|((l, r), op)| format!("({l}) {op} ({r})")),
            (two.clone(), function).prop_map(|((l, r), f)| format!("{f}({l}, {r})")),
            inner.clone().prop_map(|x| format!("!({x})")),
            inner.clone().prop_map(|x| format!("({x}).*")),
            inner.clone().prop_map(|x| format!("({x}).a")),
            inner.clone().prop_map(|x| format!("toJSON({x})")),
            inner.clone().prop_map(|x| format!("fromJSON({x})")),
            inner.clone().prop_map(|x| format!("format('{{0}}b', {x})")),
            two.clone().prop_map(|(l, r)| format!("({l})[{r}]")),
            (inner.clone(), two).prop_map(|(x, (l, r))| format!("case({x}, {l}, {r})")),
        ]
    })
}

fn arbitrary_value(unknown: bool) -> BoxedStrategy<Value> {
    let known = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (-3_i32..4).prop_map(|value| Value::Number(value.into())),
        "[a-c]{0,2}".prop_map(Value::from),
    ];
    let leaf = if unknown {
        let leanings = vec![Leaning::Any, Leaning::Truthy, Leaning::Falsy];
        prop_oneof![known, proptest::sample::select(leanings).prop_map(Value::Unknown)].boxed()
    } else {
        known.boxed()
    };
    leaf.prop_recursive(2, 8, 3, move |inner| {
        let entries =
            proptest::collection::vec((proptest::sample::select(vec!["a", "A", "b"]), inner.clone()), 0..3);
        prop_oneof![
            proptest::collection::vec(inner, 0..3).prop_map(Value::array),
            (entries, any::<bool>()).prop_map(move |(entries, open)| {
                let make = if open && unknown { Object::open } else { Object::new };
                Value::Object(Arc::new(make(entries)))
            }),
        ]
    })
    .boxed()
}

/// Fills in what is unknown, by taking values in turn.
fn concrete(value: &Value, fill: &mut dyn Iterator<Item = Value>) -> Value {
    match value {
        Value::Unknown(leaning) => {
            let wanted = match leaning {
                Leaning::Any => None,
                leaning => Some(*leaning == Leaning::Truthy),
            };
            let fitting = fill.take(64).find(|value| wanted.is_none() || value.truth() == wanted);
            fitting.unwrap_or(Value::Bool(wanted == Some(true)))
        }
        Value::Array(items) => Value::array(items.iter().map(|item| concrete(item, fill)).collect()),
        Value::Object(object) => {
            let mut entries: Vec<_> =
                object.entries().iter().map(|(name, value)| (name.clone(), concrete(value, fill))).collect();
            if object.is_open() {
                entries.extend(["b", "a"].iter().filter(|name| object.get(name).is_none()).filter_map(
                    |name| {
                        let value = fill.next()?;
                        value.truth()?.then_some((Arc::from(*name), value))
                    },
                ));
            }
            Value::object(entries)
        }
        known => known.clone(),
    }
}

/// Tells whether `value` is among those that `unknown` stands for.
fn covers(unknown: &Value, value: &Value) -> bool {
    match (unknown, value) {
        (Value::Unknown(Leaning::Any), _) => true,
        (Value::Unknown(leaning), value) => value.truth() == Some(*leaning == Leaning::Truthy),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len()
                && left.iter().zip(right.iter()).all(|(left, right)| covers(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            (left.is_open() || left.entries().len() == right.entries().len())
                && left
                    .entries()
                    .iter()
                    .all(|(name, value)| right.get(name).is_some_and(|other| covers(value, other)))
        }
        (Value::Number(left), Value::Number(right)) => left == right || left.is_nan() && right.is_nan(),
        (left, right) => left == right,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_makes_it_panic(source in "[ -~ä\\n]{0,40}") {
        if let Ok(expr) = Expr::parse(&source) {
            let _ = expr.evaluate(&world());
        }
        let _ = Template::parse(&source).map(|template| template.evaluate(&world()));
    }

    #[test]
    fn no_tokens_make_it_panic(
        tokens in proptest::collection::vec(
            proptest::sample::select(vec![
                "a", "u", "(", ")", "[", "]", ".", "*", "!", "&&", "||", "==", "<", "'x'", "1", "-", ",", "format(",
                "join(", "${{", "}}", "'", "null", " ",
            ]),
            0..24,
        )
    ) {
        let source = tokens.concat();
        if let Ok(expr) = Expr::parse(&source) {
            let _ = expr.evaluate(&world());
            let printed = expr.root().to_string();
            let again = Expr::parse(&printed).expect("canonical text parses");
            prop_assert_eq!(again.root().to_string(), printed);
        }
        let _ = Template::parse(&source).map(|template| template.evaluate(&world()));
    }

    #[test]
    fn canonical_text_means_the_same(source in arbitrary_source()) {
        let expr = Expr::parse(&source).unwrap();
        let printed = expr.root().to_string();
        let again = Expr::parse(&printed).unwrap();
        prop_assert_eq!(again.root().to_string(), printed);
        let mut names = world();
        for name in ["x", "y", "z"] {
            names.values.insert(name, json(r#"{"a": [1, "b"], "b": null}"#));
        }
        let show = |expr: &Expr| expr.evaluate(&names).map(|value| show(&value)).map_err(|error| error.kind);
        prop_assert_eq!(show(&expr), show(&again));
    }

    #[test]
    fn what_is_known_stays_true(
        source in arbitrary_source(),
        unknown in proptest::collection::vec(arbitrary_value(true), 3),
        fill in proptest::collection::vec(arbitrary_value(false), 1..12),
        success in any::<Option<bool>>(),
        later in any::<bool>(),
    ) {
        let expr = Expr::parse(&source).unwrap();
        let names = |values: Vec<Value>, success| Names {
            values: ["x", "y", "z"].into_iter().zip(values).collect(),
            success,
        };
        let mut fill = fill.into_iter().cycle();
        let filled: Vec<_> = unknown.iter().map(|value| concrete(value, &mut fill)).collect();
        let early = expr.evaluate(&names(unknown, success));
        let late = expr.evaluate(&names(filled, Some(success.unwrap_or(later))));
        match (&early, &late) {
            (Ok(early), Ok(late)) => prop_assert!(covers(early, late), "{}: {early:?} is not {late:?}", source),
            (Err(_), Ok(late)) => prop_assert!(false, "{}: failed early, but is {late:?}", source),
            (_, Err(_)) => {}
        }
    }
}
