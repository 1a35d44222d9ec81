# Settings are edited, with editors and with tools that edit. needs: vim sed
set -e
mkdir -p /etc/cron.d /etc/systemd/system /etc/ssh /etc/sudoers.d /root/.ssh
edit() { vim -u NONE -N -es -c "normal! Go# set by hand" -c wq "$1"; }
echo '0 2 * * * root /usr/local/bin/backup' > draft && cp draft /etc/cron.d/backup
for file in /etc/hosts /etc/cron.d/backup /etc/systemd/system/site.service /etc/profile /root/.bashrc /etc/ssh/ssh_config \
    /root/.ssh/authorized_keys /etc/pam.d/common-session /etc/sudoers.d/site; do
    edit "$file"
done
sed -i 's/^# set by hand$/# set twice/' /etc/hosts /etc/profile
perl -pi -e 's/twice/thrice/' /etc/hosts
if command -v ed > /dev/null; then printf '$a\n# by ed\n.\nw\nq\n' | ed -s /etc/hosts; fi
if command -v nano > /dev/null; then nano --version > /dev/null; fi
cp /etc/hosts /etc/hosts.bak && mv /etc/hosts.bak /etc/hosts.old && rm /etc/hosts.old
printf '127.0.0.1 ward7\n' | tee -a /etc/hosts > /dev/null
diff -u /etc/hosts /etc/profile > patch.diff || true
awk -F: '{print $1}' /etc/passwd | sort | uniq | wc -l
