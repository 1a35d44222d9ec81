# Containers, if a service for them runs here. needs: docker
if ! timeout 10 docker info > /dev/null 2>&1; then echo "absent: no container service answers"; exit 77; fi
docker ps -a && docker images
