// Package faults proves that nothing is lost. Its tests run the program as
// real processes between a Slack, a Discord and an EPM that outlive them, and
// take away what can be taken away: the process itself (kill -9), the
// Redis below it, its memory, its disk, its neighbours' answers.
//
// # What is compared
//
// While requests come in and people decide them, five ledgers are written.
// When all is quiet again they must agree:
//
//   - what the sender of webhooks got a 2xx for
//   - what the store holds
//   - what Slack and Discord show
//   - what EPM received
//   - what the receiver of events was told
//
// No accepted request is missing. No request has two different decisions at
// EPM. Every message ends true: it shows what EPM has. There is no second
// message about the same thing: Discord knows a repeated post by its nonce,
// in Slack a lost one is found by its metadata.
//
// All the while the fakes fail now and then, and half of those times they did
// what they were asked all the same.
//
// # How to run it
//
//	cd tests
//	go test -count=1 ./faults             the short form, two minutes
//	go test -count=1 ./faults -run Kills -v
//	make -C .. faults                     the long form, at least 300 kills
//
// The program is built with the tag faults, which lets its environment set
// the clock wrong and the pace of the chats higher (cmd/countersign/faults.go). With -race
// it has the race detector too, and a race found in it fails the test.
//
// # How to read it
//
// Each test prints one line, for example
//
//	30 kills, 214 requests, 251 webhooks accepted, 214 decisions in effect, 9 sent again, duplicates: slack 0, discord 0
//
// "Sent again" are decisions that EPM had already and was sent once more
// because its answer was lost: they are the same, and EPM says so. When a
// test fails it shows what disagrees and the end of the program's log. Each
// test's comment says which guard it watches and how it failed with that
// guard taken out.
package faults
