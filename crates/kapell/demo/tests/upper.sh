. lib/text.sh
got=$(upper kapell)
[ "$got" = "KAPELL" ] || { echo "upper: expected KAPELL, got $got"; exit 1; }
