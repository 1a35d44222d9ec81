# People come and go. needs: useradd usermod userdel groupadd chpasswd
set -e
groupadd radiology
useradd -m -s /bin/bash -c 'Ann Clark' -G radiology ann2
echo 'ann2:Trust-2026-Winter' | chpasswd
usermod -aG users ann2 && usermod -c 'Ann Clark-Smith' ann2
passwd -S ann2 && chage -l ann2 > /dev/null && id ann2
su ann2 -c 'id; cd; mkdir -p .config/autostart; touch .bash_history; echo "alias ll=\"ls -l\"" >> .bashrc'
passwd -l ann2 > /dev/null && passwd -u ann2 > /dev/null
mkdir -p /srv/share/radiology && chgrp radiology /srv/share/radiology && chmod 2770 /srv/share/radiology
setfacl -m u:ann2:rx /srv/share 2> /dev/null || true
chmod -R g+rX /srv/share && chown -R ann2:radiology /srv/share/radiology
userdel -r ann2 2> /dev/null && groupdel radiology
