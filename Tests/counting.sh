# Runs tests and counts them by Swift Testing's own events, which tell what ran even when the process died. Sourced by run.

outcomes=$scratch/outcomes # a test a line: passed, failed, died or skipped; its identifier; the reason
: >"$outcomes"
wrong=0

# read_events FILE: the outcomes of the tests in it.
read_events() {
    awk '
        function value(name, text) {
            if (!match(text, "\"" name "\":\"([^\"\\\\]|\\\\.)*\"")) return ""
            text = substr(text, RSTART + length(name) + 4, RLENGTH - length(name) - 5)
            gsub(/\\\//, "/", text); gsub(/\\"/, "\"", text); gsub(/\\n|\t/, " ", text)
            return text
        }
        index($0, "\"kind\":\"function\"") { planned[value("id", $0)] = 1; next }
        { id = value("testID", $0) }
        !(id in planned) { next }
        index($0, "\"kind\":\"testStarted\"") { open[id] = 1 }
        index($0, "\"kind\":\"testSkipped\"") || index($0, "\"kind\":\"testEnded\"") {
            delete open[id]
            symbol = value("symbol", $0)
            outcome = symbol == "skip" ? "skipped" : symbol ~ /^pass/ ? "passed" : "failed"
            reason = value("text", $0)
            if (!sub(/^.* (skipped|seconds): "?/, "", reason)) reason = outcome == "skipped" ? "no reason given" : ""
            sub(/"$/, "", reason)
            print outcome "\t" id "\t" reason
        }
        END { for (id in open) print "died\t" id "\t" }' "$1"
}

# run_tests ARGUMENT...: swift test with these arguments. A test that ends the process is counted as failed, and the tests after
# it are run by another process.
run_tests() {
    local events status skips=() known=() id
    events=$(mktemp "$scratch/events.XXXXXX")
    while true; do
        status=0
        # One after the other: side by side they would starve those that stop processes under a deadline.
        swift test "${configuration[@]}" --skip-build --no-parallel --event-stream-output-path "$events" "$@" \
            ${skips[@]+"${skips[@]}"} </dev/null || status=$?
        read_events "$events" | tee -a "$outcomes" >"$events.read"
        if ! grep -q '"kind":"runEnded"' "$events" && [ -s "$events.read" ]; then
            say "THE TEST PROCESS DIED in $(awk -F '\t' '$1 == "died" {print $2}' "$events.read"); the tests after it go on"
            mapfile -t known < <(cut -f 2 "$events.read")
            for id in "${known[@]}"; do skips+=(--skip "^${id//[^A-Za-z0-9\/_:]/.}\$"); done
            grep -q '^died' "$events.read" && continue
        fi
        grep -q "$(printf '^\\(failed\\|died\\)\t')" "$outcomes" || [ "$status" = 0 ] || wrong=$status
        return 0
    done
}

# end_with_count: what failed, why tests were skipped, and the one line that counts; exits.
end_with_count() {
    local passed failed skipped
    [ -s "$outcomes" ] || exit "$wrong"
    say "result"
    awk -F '\t' '$1 == "failed" || $1 == "died" {print $1 ": " $2}' "$outcomes"
    awk -F '\t' '$1 == "skipped" {count[$3]++} END {for (reason in count) print "skipped " count[reason] ": " reason}' "$outcomes" | sort
    passed=$(grep -c ^passed "$outcomes" || true)
    failed=$(grep -cE '^(failed|died)' "$outcomes" || true)
    skipped=$(grep -c ^skipped "$outcomes" || true)
    [ "$wrong" = 0 ] || echo "swift test ended with status $wrong, and not because of a test"
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" = 0 ] && [ "$wrong" = 0 ]
    exit
}
