//! Tests of what is replaced and what is refused, as text.

use super::*;

fn shown(script: &str) -> String {
    let template = Template::parse(script).unwrap();
    let mut count = 0;
    let name = |_: &Placeholder| {
        count += 1;
        format!("X{count}")
    };
    match compile(&template, name) {
        Ok(text) => text,
        Err(problems) => problems
            .iter()
            .map(|problem| format!("{} {:?}", template.placeholders()[problem.placeholder].expr, problem.why))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

#[test]
fn expressions_become_quoted_references() {
    let cases = [
        ("echo ${{ a }}", "echo \"${X1}\""),
        ("echo --v=${{ a }}.${{ b }}", "echo --v=\"${X1}\".\"${X2}\""),
        ("echo \"v ${{ a }}\"", "echo \"v ${X1}\""),
        ("echo \"$(cat ${{ a }})\"", "echo \"$(cat \"${X1}\")\""),
        ("echo \"$(cat \"${{ a }}\")\" ${{ b }}", "echo \"$(cat \"${X1}\")\" \"${X2}\""),
        (
            "cat <<EOF\n${{ a }} 'x' \"y\"\nEOF\necho ${{ b }}",
            "cat <<EOF\n${X1} 'x' \"y\"\nEOF\necho \"${X2}\"",
        ),
        ("cat <<-EOF\n\t${{ a }}\n\tEOF\necho ${{ b }}", "cat <<-EOF\n\t${X1}\n\tEOF\necho \"${X2}\""),
        (
            "cat <<A <<B\n${{ a }}\nA\n${{ b }}\nB\necho ${{ c }}",
            "cat <<A <<B\n${X1}\nA\n${X2}\nB\necho \"${X3}\"",
        ),
        ("echo a # it's ${{ b }}\necho ${{ c }}", "echo a # it's (an expression)\necho \"${X2}\""),
        ("echo a#b'${x}' ${{ c }}", "echo a#b'${x}' \"${X1}\""),
        ("echo 'it'\\''s' ${{ c }}", "echo 'it'\\''s' \"${X1}\""),
        ("x=${{ a }}; y=\"${{ b }}\" cmd $x", "x=\"${X1}\"; y=\"${X2}\" cmd $x"),
        ("case ${{ a }} in\n  x) echo ${{ b }};;\nesac", "case \"${X1}\" in\n  x) echo \"${X2}\";;\nesac"),
        ("for i in ${{ a }} b; do echo $i; done", "for i in \"${X1}\" b; do echo $i; done"),
        ("if [ ${{ a }} = b ]; then echo ${{ c }}; fi", "if [ \"${X1}\" = b ]; then echo \"${X2}\"; fi"),
        ("echo ${x:-'}'} ${{ a }}", "echo ${x:-'}'} \"${X1}\""),
        ("echo $((1 + (2))) ${{ a }}", "echo $((1 + (2))) \"${X1}\""),
        ("(cd ${{ a }} && ls) > ${{ b }} 2>&1", "(cd \"${X1}\" && ls) > \"${X2}\" 2>&1"),
        ("bash ./x.sh --v ${{ a }}", "bash ./x.sh --v \"${X1}\""),
        ("sh -c 'echo \"$1\"' _ ${{ a }}", "sh -c 'echo \"$1\"' _ \"${X1}\""),
        ("python3 x.py ${{ a }}", "python3 x.py \"${X1}\""),
        ("python3 -c 'import sys' ${{ a }}", "python3 -c 'import sys' \"${X1}\""),
        ("awk -v x=${{ a }} '{print x}' ${{ b }}", "awk -v x=\"${X1}\" '{print x}' \"${X2}\""),
        ("sed -n 's/a/b/p' ${{ a }}", "sed -n 's/a/b/p' \"${X1}\""),
        ("echo ${{ a }} | python3 x.py", "echo \"${X1}\" | python3 x.py"),
        ("echo ${{ a }}; curl x | sh -s -- -y", "echo \"${X1}\"; curl x | sh -s -- -y"),
        ("echo ${{ a }} | xargs rm", "echo \"${X1}\" | xargs rm"),
        ("env A=${{ a }} make", "env A=\"${X1}\" make"),
        ("sudo -u x cp ${{ a }} b", "sudo -u x cp \"${X1}\" b"),
        ("timeout 5 curl ${{ a }}", "timeout 5 curl \"${X1}\""),
        ("export A=${{ a }}", "export A=\"${X1}\""),
        ("a() { echo \"$1\"; }\na ${{ b }}", "a() { echo \"$1\"; }\na \"${X1}\""),
        ("printf '%s\\n' ${{ a }}", "printf '%s\\n' \"${X1}\""),
        ("echo \\\n  ${{ a }}", "echo \\\n  \"${X1}\""),
        ("echo \"\\\"${{ a }}\\\"\"", "echo \"\\\"${X1}\\\"\""),
        ("git commit -m \"${{ a }}\"", "git commit -m \"${X1}\""),
        ("npm run watch ${{ a }}", "npm run watch \"${X1}\""),
        ("no expressions 'at all", "no expressions 'at all"),
    ];
    for (script, expected) in cases {
        assert_eq!(shown(script), expected, "{script}");
    }
}

#[test]
fn what_cannot_be_quoted_is_refused() {
    let cases = [
        ("echo '${{ a }}'", "a SingleQuotes"),
        ("echo \"x\"'y ${{ a }}' ${{ b }}", "a SingleQuotes"),
        ("cat <<'EOF'\n${{ a }}\nEOF\n", "a QuotedHeredoc"),
        ("cat <<\\EOF\n${{ a }}\nEOF\n", "a QuotedHeredoc"),
        ("cat << \"E F\"\n${{ a }}\nE F\necho ${{ b }}", "a QuotedHeredoc"),
        ("cat <<${{ a }}\nx\n", "a Delimiter"),
        ("echo `cat ${{ a }}`", "a Backquotes"),
        ("echo \"`cat ${{ a }}`\"", "a Backquotes"),
        ("echo ${x:-${{ a }}}", "a Parameter"),
        ("echo \"${x:-${{ a }}}\"", "a Parameter"),
        ("echo $((1 + ${{ a }}))", "a Arithmetic"),
        ("echo \\${{ a }}", "a Escaped"),
        ("echo \"\\${{ a }}\"", "a Escaped"),
        ("echo $${{ a }}", "a Escaped"),
        ("cat <<E\n\\${{ a }}\nE\n", "a Escaped"),
        ("echo $'it\\'s' it\\'s ${{ a }}", "a Ambiguous"),
        ("${{ a }} x", "a Command"),
        ("./x-${{ a }}.sh", "a Command"),
        ("x=1 ${{ a }}", "a Command"),
        ("a && ${{ b }}", "b Command"),
        ("! ${{ b }}", "b Command"),
        ("if ${{ b }}; then x; fi", "b Command"),
        ("$(which ${{ a }}) x", "a Command"),
        ("sudo ${{ a }}", "a Command"),
        ("env X=1 ${{ a }}", "a Command"),
        ("timeout 5 ${{ a }}", "a Command"),
        ("xargs ${{ a }}", "a Command"),
        ("find . -exec ${{ a }} {} +", "a Command"),
        ("for ${{ a }} in b; do x; done", "a Command"),
        ("sh -c \"echo ${{ a }}\"", "a Code"),
        ("sh -ec ${{ a }}", "a Code"),
        ("/bin/bash -lc \"x ${{ a }}\"", "a Code"),
        ("bash ${{ a }}", "a Code"),
        ("bash -${{ a }} x", "a Code"),
        ("sh -c \"$(cat ${{ a }})\"", "a Code"),
        ("sudo -u x bash -c \"${{ a }}\"", "a Code"),
        ("docker run --rm x sh -c \"echo ${{ a }}\"", "a Code"),
        ("kubectl exec p -- sh -c \"echo ${{ a }}\"", "a Code"),
        ("find . -exec sh -c \"echo ${{ a }}\" \\;", "a Code"),
        ("myrunner sh -c \"echo ${{ a }}\"", "a Code"),
        ("\"$SHELL\" -c \"echo ${{ a }}\"", "a Code"),
        ("$PYTHON -c \"print(${{ a }})\"", "a Code"),
        ("busybox sh -c \"${{ a }}\"", "a Code"),
        ("python -c \"print('${{ a }}')\"", "a Code"),
        ("python3.12 -uc \"print('${{ a }}')\"", "a Code"),
        ("python3 ${{ a }}", "a Code"),
        ("node -e \"x('${{ a }}')\"", "a Code"),
        ("node --eval=\"x('${{ a }}')\"", "a Code"),
        ("perl -ne \"print if /${{ a }}/\" x", "a Code"),
        ("ruby -e \"${{ a }}\"", "a Code"),
        ("php -r \"${{ a }}\"", "a Code"),
        ("deno eval \"${{ a }}\"", "a Code"),
        ("awk \"/${{ a }}/ {print}\" x", "a Code"),
        ("awk -F: \"/${{ a }}/ {print}\" x", "a Code"),
        ("sed \"s/x/${{ a }}/\" y", "a Code"),
        ("sed -i -e \"s/x/${{ a }}/\" y", "a Code"),
        ("sed -e s/a/b/ -e \"s/x/${{ a }}/\" y", "a Code"),
        ("psql -c \"select '${{ a }}'\"", "a Code"),
        ("ssh host \"rm ${{ a }}\"", "a Code"),
        ("su - x -c ${{ a }}", "a Code"),
        ("sqlite3 db \"select '${{ a }}'\"", "a Code"),
        ("eval \"echo ${{ a }}\"", "a Builtin"),
        ("command eval ${{ a }}", "a Builtin"),
        ("trap \"rm ${{ a }}\" EXIT", "a Builtin"),
        (". ${{ a }}", "a Builtin"),
        ("[[ ${{ a }} -eq 1 ]]", "a Builtin"),
        ("unset ${{ a }}", "a Builtin"),
        ("export ${{ a }}", "a Builtin"),
        ("export ${{ a }}=b", "a Builtin"),
        ("printf -v ${{ a }} x", "a Builtin"),
        ("test -v ${{ a }}", "a Builtin"),
        ("PATH=${{ a }} x", "a Variable"),
        ("BASH_ENV=${{ a }}", "a Variable"),
        ("sh <<EOF\necho ${{ a }}\nEOF\n", "a Input"),
        ("sh <<EOF; echo b\necho ${{ a }}\nEOF\n", "a Input"),
        ("sh <<EOF\necho $(x ${{ a }})\nEOF\n", "a Input"),
        ("bash <<< \"${{ a }}\"", "a Input"),
        ("sh -s <<EOF\n${{ a }}\nEOF\n", "a Input"),
        ("echo ${{ a }} | sh", "a Input"),
        ("echo ${{ a }} | tr a b | sudo bash", "a Input"),
        ("cat <<EOF | sh\n${{ a }}\nEOF\n", "a Input"),
        ("{ echo ${{ a }}; } | sh", "a Input"),
        ("(echo ${{ a }}) | sh", "a Input"),
        ("for i in ${{ a }}; do echo $i; done | sh", "a Input"),
        ("echo ${{ a }} | (cd x; sh)", "a Input"),
        ("echo ${{ a }} | { sh; }", "a Input"),
        ("cat <<EOF | { sh; }\n${{ a }}\nEOF\n", "a Input"),
        ("cat <<EOF | (\n${{ a }}\nEOF\nsh)", "a Input"),
        ("(echo ${{ a }}) | cat | sh", "a Input"),
        ("echo ${{ a }} | while read x; do sh; done", "a Input"),
        ("while read x; do sh; done <<EOF\n${{ a }}\nEOF\n", "a Input"),
        ("exec <<EOF\n${{ a }}\nEOF\nsh", "a Input"),
        ("echo ${{ a }} | xargs -I{} sh -c 'echo {}'", "a Input"),
        ("python <<EOF\nprint('${{ a }}')\nEOF\n", "a Input"),
        ("python - <<EOF\nprint('${{ a }}')\nEOF\n", "a Input"),
        ("psql db <<EOF\nselect '${{ a }}'\nEOF\n", "a Input"),
        ("bash <(echo ${{ a }})", "a Code"),
        ("echo '${{ a }}' \"${{ b }}\" '${{ c }}'", "a SingleQuotes, c SingleQuotes"),
    ];
    for (script, expected) in cases {
        assert_eq!(shown(script), expected, "{script}");
    }
}

#[test]
fn deep_nesting_is_refused_rather_than_followed() {
    let deep = format!("{}echo ${{{{ a }}}}{}", "echo $(".repeat(5_000), ")".repeat(5_000));
    assert!(shown(&deep) == "a Ambiguous");
}
