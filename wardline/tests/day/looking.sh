# An administrator looks at the machine, one question after the other. needs: ps ip
id; whoami; uname -a; hostname; uptime; date; w; last -n 3; lastlog > /dev/null
ps aux > /dev/null; ps -ef --forest > /dev/null; top -b -n1 > /dev/null; free -m; df -h > /dev/null; du -sh /etc
ip a; ip route; ip neigh; ss -tlnp; ss -s > /dev/null; cat /etc/passwd > /dev/null; cat /etc/hosts; getent group > /dev/null
systemctl status 2>&1 | head -3; systemctl status ssh cron 2>&1 | head -3; systemctl list-units 2>&1 | head -3; systemctl --version | head -1
journalctl -n 5 --no-pager 2>&1 | head -5; dmesg 2> /dev/null | tail -3; sysctl -a 2> /dev/null | head -3; lsmod | head -3
ls -la /root /tmp /var/log /root/.ssh; tail -n 20 /var/log/dpkg.log; grep -i error /var/log/dpkg.log | tail -3
grep -rn PasswordAuthentication /etc/ssh; grep -rn listen /etc/ssh; zgrep -h error /var/log/*.gz 2> /dev/null | head -3
cat /proc/cpuinfo | head -3; lscpu > /dev/null; lsblk > /dev/null; mount > /dev/null; env > /dev/null; crontab -l 2>&1 | head -2
command -v lsof > /dev/null && lsof -p $$ > /dev/null
curl -s -o /dev/null -m 2 http://203.0.113.9/ ; getent hosts deb.debian.org; getent hosts ward7.trust.example
sudo -n true 2>&1 | head -1
ping -c1 -W1 127.0.0.1
for host in 127.0.0.1 203.0.113.9; do ping -c1 -W1 $host > /dev/null; done
true
