//! Tests of the reader: what is read, where it stands, and what is refused.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

fn dump(node: &Node, source: &str, into: &mut String) {
    match &node.kind {
        Kind::Scalar(scalar) => into.push_str(&format!("{:?}", scalar.text)),
        Kind::Sequence(items) => {
            into.push('[');
            for item in items {
                dump(item, source, into);
                into.push(',');
            }
            into.push(']');
        }
        Kind::Mapping(entries) => {
            into.push('{');
            for entry in entries {
                dump(&entry.key, source, into);
                into.push(':');
                dump(&entry.value, source, into);
                into.push(',');
            }
            into.push('}');
        }
    }
    into.push_str(&format!("@{:?}", &source[node.span.range()]));
}

fn show(text: &str) -> String {
    let source = Source::new("x.yaml", text);
    let (tree, findings) = read(&source);
    let mut out = String::new();
    if let Some(tree) = &tree {
        dump(&tree.root, text, &mut out);
        for comment in &tree.comments {
            out.push_str(&format!(" {}", &text[comment.range()]));
        }
    }
    for finding in findings {
        out.push_str(&format!(" {}@{}", finding.code, finding.span.start));
    }
    out
}

#[test]
fn lines_of_flow_collections_may_be_indented_as_they_like() {
    let cases = [
        (
            "m:\n  a: [\n    1, # é\n  ]\n  b: 2\n",
            r##"{"m"@"m":{"a"@"a":["1"@"1",]@"[\n    1, # é\n  ]","b"@"b":"2"@"2",}@"a: [\n    1, # é\n  ]\n  b: 2",}@"m:\n  a: [\n    1, # é\n  ]\n  b: 2" # é"##,
        ),
        (
            "m:\r\n  a: {\r\nx: 1,\r\n\r\n# no\r\n  }\r\nb: 2",
            r##"{"m"@"m":{"a"@"a":{"x"@"x":"1"@"1",}@"{\r\nx: 1,",}@"a: {\r\nx: 1,","##,
        ),
    ];
    for (text, expected) in cases {
        let shown = show(text);
        assert!(shown.starts_with(expected) && !shown.contains("K0101"), "{text}\n{shown}");
    }
    let unclosed = Source::new("x.yaml", "m:\n  a: [\n1\nb: 2\n");
    assert!(read(&unclosed).1.iter().any(Finding::is_error));
}

#[test]
fn nodes_know_where_they_stand() {
    let cases = [
        ("a: 1", r#"{"a"@"a":"1"@"1",}@"a: 1""#),
        (
            "a: # c\n  b:   \n  c: x # d\n",
            r##"{"a"@"a":{"b"@"b":""@"","c"@"c":"x"@"x",}@"b:   \n  c: x",}@"a: # c\n  b:   \n  c: x" # c # d"##,
        ),
        (
            "- é\n- [ü, {b: 'c''d'}]\n",
            r#"["é"@"é",["ü"@"ü",{"b"@"b":"c'd"@"'c''d'",}@"{b: 'c''d'}",]@"[ü, {b: 'c''d'}]",]@"- é\n- [ü, {b: 'c''d'}]""#,
        ),
        (
            "\u{feff}a: \"x\\ty\"\r\nb: no\r\n",
            "{\"a\"@\"a\":\"x\\ty\"@\"\\\"x\\\\ty\\\"\",\"b\"@\"b\":\"no\"@\"no\",}@\"a: \\\"x\\\\ty\\\"\\r\\nb: no\"",
        ),
        (
            "a: | # head\n  x # no\n   y\n\n# end\n",
            "{\"a\"@\"a\":\"x # no\\n y\\n\"@\"| # head\\n  x # no\\n   y\",}@\"a: | # head\\n  x # no\\n   y\" # head # end",
        ),
        ("a: &x [1]\nb: *x\n", r#"{"a"@"a":["1"@"1",]@"[1]","b"@"b":["1"@"1",]@"[1]",}@"a: &x [1]\nb: *x""#),
        (
            "a: &x foo\nb: &y !!str 1\nc: &z\n  d: e\n",
            r#"{"a"@"a":"foo"@"foo","b"@"b":"1"@"1","c"@"c":{"d"@"d":"e"@"e",}@"d: e",}@"a: &x foo\nb: &y !!str 1\nc: &z\n  d: e""#,
        ),
        ("# only\n", "\"\"@\"\" # only"),
        ("", r#"""@"""#),
        ("a: |\n", r#"{"a"@"a":""@"|",}@"a: |""#),
        (
            "a: >\nb: |\n\n\n  x\n",
            "{\"a\"@\"a\":\"\"@\">\",\"b\"@\"b\":\"\\n\\nx\\n\"@\"|\\n\\n\\n  x\",}@\"a: >\\nb: |\\n\\n\\n  x\"",
        ),
        ("a:\n- 1\n- 2\n", r#"{"a"@"a":["1"@"1","2"@"2",]@"- 1\n- 2",}@"a:\n- 1\n- 2""#),
        (
            "'a b': >-\n  one\n  two\n",
            r#"{"a b"@"'a b'":"one two"@">-\n  one\n  two",}@"'a b': >-\n  one\n  two""#,
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(show(text), expected, "{text}");
    }
}

#[test]
fn what_is_not_supported_is_found() {
    let cases = [
        ("a: 1\na: 2\na: 3\n", "K0106@5"),
        ("a: 1\n---\nb: 2\n", "K0107@5"),
        ("? [a]\n: b\n", "K0108@2"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", "K0109@18"),
        ("if: !success()\n", "K0110@"),
        ("a: !!python/object x\n", "K0110@"),
        ("a: *.rs\n", "K0111@3"),
        ("a: &x [*x]\n", "K0111@7"),
        ("a:\n\tb: 1\n", "K0105@3"),
        ("a: b: c\n", "K0101@"),
        ("a: [1\n", "K0101@"),
        ("a: 'x\n", "K0101@"),
        ("a: @x\n", "K0101@3"),
        ("a: \u{1b}[31m\n", "K0103@3"),
        ("a: x\0y\n", "K0103@4"),
        ("a: \u{202e}x\n", "K0104@3"),
    ];
    for (text, expected) in cases {
        let shown = show(text);
        assert!(shown.contains(expected), "{text:?}: {shown}");
    }
}

#[test]
fn tags_that_say_how_files_are_put_together_are_no_fault() {
    let shown = show("ports: !reset []\nvolumes: !override [a]\nscript:\n  - !reference [.setup, script]\n");
    assert!(!shown.contains("K0110"), "{shown}");
}

#[test]
fn other_encodings_are_named() {
    let utf16: Vec<u8> = "mission: x".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let marked: Vec<u8> = [0xff, 0xfe].into_iter().chain(utf16.iter().copied()).collect();
    for (bytes, expected) in [
        (&utf16[..], "UTF-16"),
        (&marked[..], "UTF-16"),
        (b"a: \xe4\n", "0xe4"),
        (b"\0\0\0m\0\0\0i", "UTF-32"),
    ] {
        let (_, findings) = decode("x", bytes);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].message.contains(expected), "{}", findings[0].message);
    }
    assert!(decode("x", "a: ä".as_bytes()).1.is_empty());
}

#[test]
fn bombs_end_soon_with_a_finding() {
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        laughs.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    // Each level is as deep as may be, and names the one before in its innermost.
    let mut deep = String::from("a0: &a0 x\n");
    for level in 1..60 {
        deep.push_str(&format!("a{level}: &a{level} {}*a{}{}\n", "[".repeat(90), level - 1, "]".repeat(90)));
    }
    let anchors = format!("{}{}", "&a [".repeat(60), "x, ".repeat(200_000));
    let n = 200_000;
    let bombs: Vec<(&str, String)> = vec![
        ("laughs", laughs),
        ("deep aliases", deep),
        ("anchors", anchors),
        ("nested flow", "[".repeat(n)),
        ("nested maps", "{a: ".repeat(n)),
        ("nested blocks", "- ".repeat(n)),
        ("nested keys", "? ".repeat(n)),
        ("keys on one line", "a: ".repeat(n)),
        ("open quote", format!("\"{}", "x\\n".repeat(n))),
        ("open single", format!("'{}", "''".repeat(n))),
        ("tags", "!a ".repeat(n)),
        ("anchors only", "&a ".repeat(n)),
        ("directives", "%YAML 1.2\n".repeat(n)),
        ("bad indents", (0..2_000).rev().map(|i| format!("{}a:\n", " ".repeat(i))).collect()),
        ("good indents", (0..2_000).map(|i| format!("{}a:\n", " ".repeat(i))).collect()),
        ("too many", format!("[{}]", "1,".repeat(1_100_000))),
        ("too large", "a".repeat(10_000_001)),
        ("documents", "---\n".repeat(n)),
        ("duplicates", "a: 1\n".repeat(n)),
    ];
    for (name, text) in bombs {
        let start = Instant::now();
        let source = Source::new(name, &text);
        let (_, findings) = read(&source);
        assert!(!findings.is_empty(), "{name}");
        let shown = crate::finding::render_all(&findings, &source, false, 20);
        assert!(shown.len() < 200_000, "{name}: {}", shown.len());
        // Generous: debug build, shared machine. A bomb that goes off takes for ever.
        assert!(start.elapsed() < Duration::from_secs(20), "{name}: {:?}", start.elapsed());
    }
}

#[test]
fn large_harmless_texts_are_read() {
    let n = 100_000;
    for text in [
        "#x\n".repeat(n),
        "\n".repeat(n) + "a: 1",
        format!("a: |\n{}", "  x\n".repeat(n)),
        format!("a: >\n{}", "  x\n".repeat(n)),
        format!("a: x\n{}", "  x\n".repeat(n)),
        (0..n).map(|i| format!("ä{i}: {i}\n")).collect::<String>(),
        format!("[{}]", "ü, ".repeat(n)),
    ] {
        let start = Instant::now();
        let (tree, findings) = read(&Source::new("x", &text));
        assert!(findings.is_empty() && tree.is_some_and(|tree| tree.complete), "{:?}", findings.first());
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}: {}", start.elapsed(), &text[..20]);
    }
}

#[test]
fn places_within_scalars_are_found() {
    // What is looked for stands between « and » in the file.
    let cases = [
        ("a: x «${{ b }}» y", "${{ b }}"),
        ("a: 'it''s «${{ b }}»'", "${{ b }}"),
        (r#"a: "x\ty\u00e4 «${{ b }}»""#, "${{ b }}"),
        ("a: |\n  line one\n    deeper «${{ b }}» z\n", "${{ b }}"),
        ("a: >-\n  folded\n  text «${{ b }}» z\n", "${{ b }}"),
        ("a: plain\n  over lines «${{ b }}»\n", "${{ b }}"),
        ("a: \"x\n\n   y \\\n   z «${{ b }}»\"\n", "${{ b }}"),
        ("a: |+2 # c\n   x\n\n  «${{ b }}»\n", "${{ b }}"),
        ("ä: «${{ b\n  && c }}»\n", "${{ b && c }}"),
    ];
    for (marked, needle) in cases {
        let text = marked.replace(['«', '»'], "");
        let start = marked.find('«').unwrap();
        let end = marked.find('»').unwrap() - '«'.len_utf8();
        let (tree, findings) = read(&Source::new("x", &text));
        assert!(findings.is_empty(), "{marked}: {findings:?}");
        let tree = tree.unwrap();
        let value = &tree.root.entries().unwrap()[0].value;
        let at = value.text().unwrap().find(needle).unwrap();
        let span = value.locate(&text, at..at + needle.len());
        assert_eq!(&text[span.range()], &text[start..end], "{marked}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_makes_it_panic(
        pieces in proptest::collection::vec(
            proptest::sample::select(vec![
                "a", ": ", ":", "- ", "\n", "  ", " ", "[", "]", "{", "}", ", ", "#", " # c", "'", "\"", "|\n", ">-\n", "&a ",
                "*a", "!!str ", "!x", "? ", "---\n", "...\n", "%YAML 1.2\n", "\t", "ä", "\u{feff}", "\r\n", "\\", "\\x41",
                "<<: ", "~", "0x1f", "${{ a }}", "\u{85}", "\u{2028}",
            ]),
            0..30,
        )
    ) {
        let text = pieces.concat();
        let source = Source::new("x", &text);
        let (tree, findings) = read(&source);
        let _ = crate::finding::render_all(&findings, &source, true, 10);
        let said = tree.is_some() || !findings.is_empty();
        prop_assert!(said, "neither a tree nor a finding: {:?}", text);
        if let Some(tree) = tree {
            let mut out = String::new();
            dump(&tree.root, &text, &mut out);
            for comment in &tree.comments {
                prop_assert!(text[comment.range()].starts_with('#'));
            }
            let mut stack = vec![&tree.root];
            while let Some(node) = stack.pop() {
                match &node.kind {
                    Kind::Scalar(scalar) => {
                        for at in (0..=scalar.text.len()).filter(|&at| scalar.text.is_char_boundary(at)) {
                            let span = node.locate(&text, at..scalar.text.len());
                            prop_assert!(text.get(span.range()).is_some());
                        }
                    }
                    Kind::Sequence(items) => stack.extend(items),
                    Kind::Mapping(entries) => stack.extend(entries.iter().flat_map(|e| [&e.key, &e.value])),
                }
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let (source, findings) = decode("x", &bytes);
        if findings.is_empty() {
            let _ = read(&source);
        }
    }
}
