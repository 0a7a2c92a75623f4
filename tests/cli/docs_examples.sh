#!/bin/sh
# docs_examples.sh COMMAND SOURCE WORK: the examples in README.md and docs/ are right.
#
#   ```attn         a spec file: checks without a message, and formatting its formatted text changes nothing
#   ```attn error   a spec file that must be rejected
#   ```sh test      lines that must succeed, run with `attune` in the path, in a folder where kernels/ and examples/ are
set -eu
command=$1 source=$2 work=$3
rm -rf "$work"
mkdir -p "$work/bin" "$work/run"
ln -s "$command" "$work/bin/attune"
ln -s "$source/kernels" "$work/run/kernels"
ln -s "$source/examples" "$work/run/examples"
PATH=$work/bin:$PATH
ATTUNE_CACHE_DIR=$work/cache
export PATH ATTUNE_CACHE_DIR

find "$source/README.md" "$source/docs" "$source/examples" -name '*.md' | sort > "$work/files"
count=0 failed=0
complain() { echo "$1" >&2; failed=$((failed + 1)); }

while read -r file; do
    rm -f "$work"/block.*
    awk -v out="$work/block." '
        /^```/ && kind { close(path); kind = ""; next }
        /^```attn error$/ { kind = "error" }
        /^```attn$/ { kind = "attn" }
        /^```sh test$/ { kind = "sh" }
        /^```/ && kind { path = out sprintf("%03d", ++n) "." NR "." kind; printf "" > path; next }
        kind { print > path }' "$file"
    for block in "$work"/block.*; do
        [ -e "$block" ] || continue
        count=$((count + 1))
        line=${block%.*} line=${line##*.} where=${file#"$source"/}:$line
        case $block in
        *.attn)
            attune check -W "$block" || complain "$where: the spec is rejected"
            attune fmt "$block" > "$work/once" && attune fmt "$work/once" > "$work/twice" ||
                complain "$where: the spec cannot be formatted"
            cmp -s "$work/once" "$work/twice" || complain "$where: formatting twice gives another text"
            ;;
        *.error)
            if attune check "$block" 2> "$work/message"; then complain "$where: the spec is not rejected"; fi
            ;;
        *.sh)
            (cd "$work/run" && sh -eu "$block" > "$work/output" 2>&1) || {
                cat "$work/output" >&2
                complain "$where: the commands fail"
            }
            ;;
        esac
    done
done < "$work/files"
echo "$count examples, $failed wrong"
[ "$failed" -eq 0 ] && [ "$count" -gt 0 ]
