# Backups: packed, copied, checked, restored, old ones removed. needs: tar rsync gzip
set -e
mkdir -p /srv/backup/daily /srv/backup/monthly /srv/restore /home/ann/.ssh /home/ann/Documents
for n in $(seq 1 40); do echo "letter $n" > /home/ann/Documents/$n.odt; done
tar czf /srv/backup/daily/etc.tar.gz /etc 2> /dev/null
tar --listed-incremental=/srv/backup/home.snar -cf - /home 2> /dev/null | gzip > /srv/backup/daily/home.tar.gz
rsync -a --delete /etc/ /srv/backup/etc/ && rsync -a --link-dest=/srv/backup/etc /etc/ /srv/backup/etc.1/
rsync -a /home/ /srv/backup/home/
cp -a /srv/backup/daily/etc.tar.gz /srv/backup/monthly/
split -b 1M /srv/backup/daily/etc.tar.gz /srv/backup/monthly/etc.part.
(cd /srv/backup/daily && sha256sum *.gz > sums && sha256sum -c --quiet sums)
tar tzf /srv/backup/daily/etc.tar.gz > /dev/null && tar xzf /srv/backup/daily/etc.tar.gz -C /srv/restore etc/hosts
find /srv/backup -name '*.tar.gz' -mtime +30 -delete
find /srv/backup/monthly -name 'etc.part.*' -exec rm {} +
rm -rf /srv/backup/etc.1 /srv/restore
if command -v zstd > /dev/null; then zstd -q -k /srv/backup/daily/home.tar.gz && rm /srv/backup/daily/home.tar.gz.zst; fi
if command -v zip > /dev/null; then zip -qr /srv/backup/documents.zip /home/ann/Documents; fi
if command -v sqlite3 > /dev/null; then
    sqlite3 /srv/pas.db 'create table a(b); insert into a values (1);' && sqlite3 /srv/pas.db ".backup /srv/backup/pas.db"
    sqlite3 /srv/pas.db .dump | gzip > /srv/backup/pas.sql.gz
fi
if command -v restic > /dev/null; then
    export RESTIC_PASSWORD=k RESTIC_REPOSITORY=/srv/backup/restic
    restic -q --no-cache init && restic -q --no-cache backup /home/ann && restic -q --no-cache forget --keep-last 3 --prune && restic -q --no-cache check
fi
