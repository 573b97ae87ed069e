//! Scripts with hostile values, really run: no canary is ever touched, and each value arrives byte for byte.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use kapell_core::expr::Template;
use kapell_spec::shell;

/// Values that try to get out. `@` stands for the canary's path.
fn hostile() -> Vec<String> {
    let mut values: Vec<String> = [
        "; touch @ ;",
        "\n touch @ \n",
        "& touch @ &",
        "| touch @",
        "|| touch @ ||",
        "&& touch @ &&",
        "$(touch @)",
        "`touch @`",
        "${x:=$(touch @)}",
        "${x:-`touch @`}",
        "\"; touch @; \"",
        "'; touch @; '",
        "\"'; touch @; '\"",
        "\\\"; touch @; \\\"",
        "\\'; touch @; \\'",
        "\"$(touch @)\"",
        "'$(touch @)'",
        "\\$(touch @)",
        "\\`touch @\\`",
        "$((a[$(touch @)]))",
        "a[$(touch @)]",
        "x=$(touch @)",
        "<(touch @)",
        "> @",
        ">> @ #",
        "< @ ; touch @",
        "\nEOF\ntouch @\n",
        "EOF",
        "\nEOF\ntouch @\ncat <<EOF\n",
        "\n\tEOF\ntouch @\n",
        ") ; touch @ ; (",
        "}; touch @; {",
        "; done; touch @; for i in x; do :",
        ";; *) touch @ ;; esac; touch @ #",
        "# \n touch @",
        "%s%n$(touch @)",
        "-e; touch @",
        "--help; touch @",
        "!touch @",
        "\\\n touch @",
        "\r\n touch @ \r\n",
        "${IFS}touch${IFS}@",
        "{touch,@}",
        "* ? [a-z] ~ ~root",
        "$'\\ntouch @'",
        "${{ run.id }}",
        "${KAPELL_EXPR_1}",
        "$0 $1 $@ $* $$ $! $?",
        "  leading, trailing and   inner blanks \t ",
        "ends in line breaks\n\n\n",
        "",
        " ",
        "\n",
        "é 😀 \u{202e} \u{7f} \u{1b}[31m",
        "\\",
        "\\\\",
        "\\n\\t\\c\\0101",
        "a\\",
        "'",
        "\"",
        "`",
        "$",
    ]
    .map(str::to_owned)
    .into();
    values.push("x".repeat(60_000));
    values
}

/// Scripts that print the value of the expression and nothing else. What is refused is not here.
const SCRIPTS: &[&str] = &[
    "printf %s ${{ v }}",
    "printf %s \"${{ v }}\"",
    "printf '%s' ${{ v }} # ${{ v }} it's \"",
    "printf %s \"\"${{ v }}''",
    "x=${{ v }}; printf %s \"$x\"",
    "x=\"${{ v }}\" sh -c 'printf %s \"$x\"'",
    "x=''${{ v }}\"\"\nprintf %s \"$x\"",
    "set -- ${{ v }}\nprintf %s \"$1\"; [ $# = 1 ]",
    "f() { printf %s \"$1\"; }\nf ${{ v }}",
    "f() { printf %s ${{ v }}; }\nf",
    "(printf %s ${{ v }})",
    "{ printf %s ${{ v }}; }",
    "if true; then printf %s ${{ v }}; fi",
    "for i in ${{ v }}; do printf %s \"$i\"; done",
    "while :; do printf %s ${{ v }}; break; done",
    "case ${{ v }} in\n  *) printf %s ${{ v }};;\nesac",
    "case x in (x) printf %s \"${{ v }}\" ;; esac",
    "true && printf %s ${{ v }} || false",
    "! false && printf %s ${{ v }}",
    "printf %s \\\n  ${{ v }}",
    "sh -c 'printf %s \"$1\"' name ${{ v }}",
    "env X=${{ v }} sh -c 'printf %s \"$X\"'",
    "export X=${{ v }}; sh -c 'printf %s \"$X\"'",
    "printf %s ${{ v }} | cat",
    "printf %s ${{ v }} | tr a a | cat",
    "printf %s ${{ v }} > out.txt; cat out.txt",
    "printf %s \"$(printf %s ${{ v }}; printf .)\" | sed '$s/[.]$//' > out.txt; printf %s ${{ v }}",
    "x=\"$(printf %s.\"${{ v }}\".)\"; x=${x%.}; printf %s \"${x#.}\"",
    "x=$(printf '%s.' ${{ v }}); printf %s \"${x%.}\"",
    "cat <<EOF | { x=$(cat; printf .); x=${x%.}; printf %s \"${x%?}\"; }\n${{ v }}\nEOF",
    "cat <<-EOF > out.txt\n\ta\n\tEOF\nprintf %s ${{ v }}",
    "cat <<'EOF' > out.txt\nit's $(not run) \"\nEOF\nprintf %s ${{ v }}",
    "cat <<A <<B > out.txt\n\"\nA\n'\nB\nprintf %s ${{ v }}",
    "printf '%s' 'it'\\''s' > out.txt; printf %s ${{ v }}",
    "printf %s \"a \\\" b\" > out.txt; printf %s \"${{ v }}\"",
    "printf %s \"${X:-it's}\" > out.txt; printf %s ${{ v }}",
    "printf %s $((1 + (2 * 3))) > out.txt; printf %s ${{ v }}",
    "printf %s `printf \\`printf a\\`` > out.txt; printf %s ${{ v }}",
    "printf %s \"$(printf \"%s\" \"a ) b\")\" > out.txt; printf %s ${{ v }}",
    "printf %s a#b'c' > out.txt # it's\nprintf %s ${{ v }}",
    "test ${{ v }} = ${{ v }} && printf %s ${{ v }}",
    "[ \"${{ v }}\" = ${{ v }} ] && printf %s ${{ v }}",
    "awk 'BEGIN { printf \"%s\", ENVIRON[\"X\"] }' > out.txt; printf %s ${{ v }}",
    "find . -name ${{ v }} -prune > out.txt 2>&1 || true; printf %s ${{ v }}",
    "grep -F -e ${{ v }} out.txt || true; printf %s ${{ v }}",
    "readonly X=${{ v }}; printf %s \"$X\"",
];

fn run(dir: &Path, script: &str, value: &str) -> (Vec<u8>, String) {
    let output = Command::new("/bin/sh")
        .args(["-c", script])
        .env("KAPELL_EXPR_1", value)
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (output.stdout, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn compiled(script: &str) -> Option<String> {
    shell::compile(&Template::parse(script).unwrap(), |_| "KAPELL_EXPR_1".to_owned()).ok()
}

/// A directory that is gone when the test is over.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("out.txt"), "").unwrap();
        Self(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn hostile_values_arrive_whole_and_run_nothing() {
    let scratch = Scratch::new("arrive");
    let canary = scratch.0.join("canary");
    let values: Vec<String> =
        hostile().iter().map(|value| value.replace('@', canary.to_str().unwrap())).collect();
    assert!(values.len() >= 50);
    for (number, script) in SCRIPTS.iter().enumerate() {
        let text = compiled(script).unwrap_or_else(|| panic!("{script} is refused"));
        // Every script with a part of the values, and all values with the first two.
        let some = values.iter().enumerate().filter(|(at, _)| number < 2 || (at + number) % 6 == 0);
        for (_, value) in some {
            let (output, errors) = run(&scratch.0, &text, value);
            assert!(!canary.exists(), "{script} with {value:?} got out");
            let shown: String = value.chars().take(80).collect();
            assert_eq!(String::from_utf8_lossy(&output), *value, "{script} with {shown:?}: {errors}");
        }
    }
}

/// Places that must be refused: run as written, with the reference in place, they would let a value out.
#[test]
fn what_is_refused_would_have_got_out() {
    let scratch = Scratch::new("refused");
    let canary = scratch.0.join("canary");
    let touch = format!("touch {}", canary.display());
    let cases: Vec<(&str, String)> = vec![
        ("sh -c \"echo ${{ v }}\"", format!("x; {touch}")),
        ("eval \"echo ${{ v }}\"", format!("x; {touch}")),
        ("sh <<EOF\necho ${{ v }}\nEOF\n", format!("x; {touch}")),
        ("echo ${{ v }} | sh", touch.clone()),
        ("{ echo ${{ v }}; } | sh", touch.clone()),
        ("trap \"${{ v }}\" EXIT", touch.clone()),
        ("awk \"BEGIN { print \\\"${{ v }}\\\" }\"", format!("\" system(\"{touch}\") \"")),
        ("echo x | sed \"s/x/${{ v }}/\"", format!("y/;1e {touch}\n#")),
        ("find . -maxdepth 0 -exec sh -c \"echo ${{ v }}\" \\;", format!("x; {touch}")),
        ("echo ${{ v }} | xargs -I{} sh -c 'echo {}'", format!("x; {touch}")),
        ("env ${{ v }}", "touch canary".to_owned()),
    ];
    for (script, value) in cases {
        assert!(compiled(script).is_none(), "{script}");
        // Shows that the danger is real, so that nobody relaxes the rule: all but the last, which is one word.
        let spliced = script.replace("${{ v }}", "${KAPELL_EXPR_1}");
        if std::fs::exists(&canary).unwrap() {
            std::fs::remove_file(&canary).unwrap();
        }
        let (_, errors) = run(&scratch.0, &spliced, &value);
        assert!(canary.exists(), "{script} is refused, but was harmless: {errors}");
    }
}

#[test]
fn whatever_compiles_runs_nothing() {
    // Every position within scripts of many kinds, found by putting the expression between all tokens.
    let skeletons = [
        "echo a b",
        "x=1 echo \"a b\" 'c'",
        "cat <<EOF\na b\nEOF\necho c",
        "if [ a = b ]; then echo c; else echo d; fi",
        "for i in a b; do echo $i; done | cat",
        "sh -c 'echo $1' x a",
        "sh -s a <<EOF\necho b\nEOF",
        "( echo a ) | sh",
        "echo `echo a` $(echo b) ${c:-d} $((1+2))",
        "case a in a) echo b;; *) echo c;; esac",
        "eval echo a; command eval b; . ./none",
        "echo a | while read x; do eval echo b; done",
        "env A=a sh -c 'echo b' c",
        "awk '{ print a }' out.txt; sed -e s/a/b/ out.txt",
        "trap 'echo a' EXIT; set -e; export A=b",
        "f() { echo a; }; f b > out.txt 2>&1 &",
        "xargs sh -c 'echo a' < out.txt",
        "timeout 5 sh -c 'echo a'; nice echo b",
    ];
    let scratch = Scratch::new("anywhere");
    let canary = scratch.0.join("canary");
    let values = [
        "; touch @ #",
        "$(touch @)",
        "`touch @`",
        "\n touch @\n",
        "\" ; touch @ ; \"",
        "' ; touch @ ; '",
        "\nEOF\ntouch @\n",
        "a[$(touch @)]",
        "touch @",
    ]
    .map(|value| value.replace('@', canary.to_str().unwrap()));
    let (mut taken, mut refused) = (0, 0);
    for skeleton in skeletons {
        for at in 0..=skeleton.len() {
            let script = format!("{}${{{{ v }}}}{}", &skeleton[..at], &skeleton[at..]);
            let Some(text) = compiled(&script) else {
                refused += 1;
                continue;
            };
            taken += 1;
            // A different value each time; over all positions each value is everywhere.
            for value in values.iter().skip(at % 3).step_by(3) {
                run(&scratch.0, &text, value);
                assert!(!canary.exists(), "{script:?} as {text:?} with {value:?} got out");
            }
        }
    }
    assert!(taken > 150 && refused > 150, "{taken} taken, {refused} refused");
}
