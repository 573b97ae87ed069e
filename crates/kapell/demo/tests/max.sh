. lib/max.sh
got=$(max 2 3)
[ "$got" = "3" ] || { echo "max: expected 3, got $got"; exit 1; }
