// Package check holds deploy/ and the Dockerfile to what the program and the
// tools that read them really do, as far as that goes without a container
// engine, a cluster or a running systemd: the image's file tree is built and
// its program run in it, as the compose file, the chart and the unit say;
// charts are rendered by Helm, compose files are read by Compose, and rules
// and panels are compared with what the program exports.
//
// It is a module of its own, so that the tools' code, which is large, is
// neither linked into the program nor in its go.mod.
package check
