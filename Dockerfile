# The enclave's image in the way that AWS's tools know. `cargo xtask image` puts this file, the static binary and the operator's
# files into target/image/docker, which is the folder to build in (this one is not: nitro-cli sends the whole folder to docker):
#
#   cargo xtask image --policy policy.toml
#   cd target/image/docker
#   nitro-cli build-enclave --docker-dir ./ --docker-uri tmkms --output-file tmkms.eif
#
# docs/docker.md has the steps and what of them was run.
FROM scratch
LABEL org.opencontainers.image.title="tmkms for Nitro" \
      org.opencontainers.image.description="A remote signer for Tendermint and CometBFT validators, as the only program of an AWS Nitro Enclave" \
      org.opencontainers.image.licenses="Apache-2.0"
# policy.toml, the TLS root that it names, identity files; may be empty. Before the binary, so that it cannot replace it.
COPY files/ /
COPY tmkms /tmkms
# nitro-cli refuses an image without an environment, and every builder has its own default.
ENV PATH=/
# Not ENTRYPOINT: nitro-cli takes one or the other, CMD first, and never both together. Another port, each signature logged:
#   CMD ["/tmkms", "nitro", "start", "-p", "6000", "-v"]
CMD ["/tmkms", "nitro", "start"]
