# Keys and certificates. needs: ssh-keygen openssl
set -e
mkdir -p /root/.ssh && chmod 700 /root/.ssh
ssh-keygen -q -t ed25519 -N '' -C ann@ward7 -f /root/.ssh/id_ed25519
ssh-keygen -lf /root/.ssh/id_ed25519.pub && ssh-keygen -y -f /root/.ssh/id_ed25519 > /dev/null
cat /root/.ssh/id_ed25519.pub >> /root/.ssh/authorized_keys && chmod 600 /root/.ssh/authorized_keys
printf 'Host ward7\n  Port 22\n' >> /root/.ssh/config
ssh -G ward7 > /dev/null
ssh -o BatchMode=yes -o ConnectTimeout=2 ann@203.0.113.9 true || true
eval "$(ssh-agent -s)" > /dev/null && ssh-add -q /root/.ssh/id_ed25519 && ssh-add -l && ssh-agent -k > /dev/null
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=ward7 -keyout key.pem -out cert.pem 2> /dev/null
openssl x509 -in cert.pem -noout -dates && openssl s_client -connect 127.0.0.1:443 < /dev/null > /dev/null 2>&1 || true
openssl enc -aes-256-cbc -pbkdf2 -pass pass:k -in cert.pem -out cert.enc && openssl enc -d -aes-256-cbc -pbkdf2 -pass pass:k -in cert.enc > /dev/null
mkdir -p /usr/local/share/ca-certificates && cp cert.pem /usr/local/share/ca-certificates/trust.crt
if command -v gpg > /dev/null; then
    export GNUPGHOME=$PWD/gnupg && mkdir -m 700 gnupg
    gpg --batch --quiet --passphrase '' --quick-gen-key ann@trust.example default default never 2> /dev/null
    gpg --batch --quiet --yes -r ann@trust.example --trust-model always -e cert.pem
    gpgconf --kill all || true
fi
