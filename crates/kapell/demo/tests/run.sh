# Runs all tests and tells of each.
failed=0
for test in sum max upper trim; do
    if sh "tests/$test.sh" >/dev/null; then echo "ok $test"; else echo "not ok $test"; failed=1; fi
done
exit $failed
