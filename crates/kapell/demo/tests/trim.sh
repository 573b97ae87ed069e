. lib/text.sh
got=$(trim '  band  ')
[ "$got" = "band" ] || { echo "trim: expected band, got $got"; exit 1; }
