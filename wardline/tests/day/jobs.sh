# What runs at night: the distribution's daily jobs, and those of the site. needs: run-parts find
set -e
# They wait a while by chance, so that not all machines ask at once; not here.
echo 'APT::Periodic::RandomSleep "0";' > /etc/apt/apt.conf.d/99-no-wait
timeout 20 run-parts --report /etc/cron.daily || true
mkdir -p /srv/scans /var/log/site /srv/reports
for n in 1 2 3 4 5; do echo "scan $n" > /srv/scans/$n.dcm; echo "report $n" > /srv/reports/$n.pdf; done
find /srv/scans -name '*.dcm' -mtime +30 -print -delete
find /srv -type f -size +1M -exec ls -l {} +
find /tmp /var/tmp -xdev -atime +10 -delete
echo "$(date) done" >> /var/log/site/site.log && gzip -f /var/log/site/site.log && find /var/log/site -name '*.gz' -mtime +14 -delete
sh -c 'df -h / | tail -1 | awk "{print \$5}"'
sh -c 'cd /srv/reports && for f in *.pdf; do cp "$f" "/srv/scans/$f"; done'
sh -c 'ps aux | grep -c "[s]canner" || true'
logger -t site done 2> /dev/null || true
flock -n /tmp/site.lock sleep 0.1
timeout 5 nice -n 10 sha256sum /srv/scans/*.dcm > /srv/sums && sha256sum -c --quiet /srv/sums
