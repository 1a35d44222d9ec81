# Packages are installed, upgraded, configured anew and removed, by dpkg and by apt, with all that packages bring: a service,
# a timer, a job, a rule for devices, an account, a rule for sudo. needs: dpkg-deb apt-get
set -e
make_package() { # version
    rm -rf tree && mkdir -p tree/DEBIAN tree/usr/bin tree/lib/systemd/system tree/etc/cron.d tree/etc/cron.daily \
        tree/lib/udev/rules.d tree/etc/sudoers.d tree/etc/pam.d tree/etc/xdg/autostart tree/usr/share/doc/scanner
    printf 'Package: scanner\nVersion: %s\nArchitecture: all\nMaintainer: Radiology <it@trust.example>\nDescription: a scanner\n' "$1" \
        > tree/DEBIAN/control
    printf '#!/bin/sh\nset -e\nif [ "$1" = configure ]; then\n  id scanner >/dev/null 2>&1 || useradd --system --no-create-home scanner\n  mkdir -p /var/lib/scanner && chown scanner /var/lib/scanner\n  echo "# set by the package" > /etc/cron.d/scanner-site\n  if command -v deb-systemd-helper >/dev/null; then deb-systemd-helper enable scanner.service || true; fi\nfi\n' \
        > tree/DEBIAN/postinst
    printf '#!/bin/sh\nset -e\nif [ "$1" = purge ]; then rm -rf /var/lib/scanner /etc/cron.d/scanner-site; userdel scanner || true; fi\n' > tree/DEBIAN/postrm
    chmod 755 tree/DEBIAN/postinst tree/DEBIAN/postrm
    printf '#!/bin/sh\necho scanning\n' > tree/usr/bin/scan && chmod 755 tree/usr/bin/scan
    printf '[Service]\nExecStart=/usr/bin/scan\nUser=scanner\n[Install]\nWantedBy=multi-user.target\n' > tree/lib/systemd/system/scanner.service
    printf '[Timer]\nOnCalendar=daily\n' > tree/lib/systemd/system/scanner.timer
    printf '0 3 * * * scanner /usr/bin/scan\n' > tree/etc/cron.d/scanner
    printf '#!/bin/sh\nfind /var/lib/scanner -mtime +30 -delete\n' > tree/etc/cron.daily/scanner && chmod 755 tree/etc/cron.daily/scanner
    printf 'SUBSYSTEM=="usb", MODE="0660", GROUP="scanner"\n' > tree/lib/udev/rules.d/60-scanner.rules
    printf '%%scanner ALL=(root) /usr/bin/scan\n' > tree/etc/sudoers.d/scanner && chmod 440 tree/etc/sudoers.d/scanner
    printf 'auth required pam_unix.so\n' > tree/etc/pam.d/scanner
    printf '[Desktop Entry]\nType=Application\nExec=/usr/bin/scan\n' > tree/etc/xdg/autostart/scanner.desktop
    printf '/etc/cron.d/scanner\n/etc/cron.daily/scanner\n/etc/sudoers.d/scanner\n/etc/pam.d/scanner\n/etc/xdg/autostart/scanner.desktop\n' > tree/DEBIAN/conffiles
    dpkg-deb --root-owner-group -Zgzip -b tree "scanner_$1.deb" > /dev/null
}
make_package 1.0
dpkg -i scanner_1.0.deb
scan
dpkg -l scanner && dpkg -L scanner > /dev/null && dpkg -V scanner
make_package 1.1
# A source of packages on disk; apt fetches, checks, unpacks and configures.
mkdir -p /srv/packages && cp scanner_1.1.deb /srv/packages/
cd /srv/packages
{
    dpkg-deb -f scanner_1.1.deb
    echo "Filename: ./scanner_1.1.deb"
    echo "Size: $(stat -c %s scanner_1.1.deb)"
    echo "SHA256: $(sha256sum scanner_1.1.deb | cut -d' ' -f1)"
} > Packages
gzip -kf Packages
printf 'deb [trusted=yes] file:/srv/packages ./\n' > /srv/packages/only.list
apt() { apt-get -o Dir::Etc::SourceList=/srv/packages/only.list -o Dir::Etc::SourceParts=/none -o APT::Sandbox::User=root -y "$@"; }
apt update
apt upgrade --with-new-pkgs scanner
dpkg -s scanner | grep -q 'Version: 1.1'
apt-cache policy scanner > /dev/null
apt-mark showmanual > /dev/null
# What upgrades of the system's own packages run.
ldconfig
dpkg-reconfigure -f noninteractive tzdata || true
if command -v update-ca-certificates > /dev/null; then update-ca-certificates; fi
if command -v pam-auth-update > /dev/null; then pam-auth-update --package; fi
update-alternatives --install /usr/bin/show-scan show-scan /usr/bin/scan 10
apt purge scanner
apt-get clean
