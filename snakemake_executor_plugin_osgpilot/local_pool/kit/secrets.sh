# shellcheck shell=bash
# Sourced by init.sh: keys, tokens and homes of this pool, created at every `up`.
ap=$RUN/ap/root login=$RUN/login/root
umask 077

head -c 1024 /dev/urandom > "$login/etc/munge/munge.key"
chown --reference="$login/etc/munge" "$login/etc/munge/munge.key"
chmod 400 "$login/etc/munge/munge.key"
chroot "$login" ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key -C login
head -c 64 /dev/urandom | base64 -w0 > /run/pool.key
for host in "$ap" "$login"; do
  mkdir -p "$host/etc/condor/passwords.d" "$host/etc/condor/tokens.d"
  cp /run/pool.key "$host/etc/condor/passwords.d/POOL"
done

# mint NAME AUTHORISATION...: a token of the pool, on standard output
mint() {
  local name=$1 scope scopes=(); shift
  for scope; do scopes+=(-authz "$scope"); done
  nsenter --net=/run/netns/ap chroot "$ap" condor_token_create -identity "$name@localpool" -key POOL "${scopes[@]}"
}
mint condor > "$login/etc/condor/tokens.d/condor"
mint pilot ADVERTISE_STARTD ADVERTISE_MASTER READ > /run/pilot.token

for user in alice:2001 bob:2002; do
  id=${user#*:} user=${user%:*}
  for host in "$ap" "$login"; do
    mkdir -p "$host/home/$user/.ssh" "$host/home/$user/.condor/tokens.d" \
      "$host/home/$user/.cache/osgpilot/environments"
    chmod 755 "$host/home"
    cp "$host"/etc/skel/.[a-z]* "$host/home/$user/"
  done
  chroot "$ap" ssh-keygen -q -t ed25519 -N "" -f "/home/$user/.ssh/id_ed25519" -C "$user@ap"
  cp "$ap/home/$user/.ssh/id_ed25519.pub" "$login/home/$user/.ssh/authorized_keys"
  echo "login,login.localpool,10.99.0.2 $(cut -d' ' -f1,2 "$login/etc/ssh/ssh_host_ed25519_key.pub")" \
    > "$ap/home/$user/.ssh/known_hosts"
  mint "$user" READ WRITE > "$login/home/$user/.condor/tokens.d/ap"
  cp "$login/home/$user/.condor/tokens.d/ap" "$ap/home/$user/.condor/tokens.d/ap"
  # what a site gets from the operators of the pool
  mkdir -p "$login/home/$user/osg-token"
  cp /run/pilot.token "$login/home/$user/osg-token/flock.opensciencegrid.org"
  chown -R "$id:$id" "$ap/home/$user" "$login/home/$user"
done
rm /run/pool.key /run/pilot.token
umask 022
