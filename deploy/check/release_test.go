package check

// testVersion is the version of what is built here.
const testVersion = "v0.0.0-check"
