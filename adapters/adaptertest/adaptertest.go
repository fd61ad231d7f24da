// Package adaptertest says what keeping the contract of [adapters.Chat]
// means. Every platform runs the suite against its fake:
//
//	func TestContract(t *testing.T) {
//		adaptertest.Run(t, func(t *testing.T, h adapters.Handler) adaptertest.Harness { … })
//	}
//
// The suite knows domain values and what people see; everything particular to
// a platform is behind the [Harness].
package adaptertest

import (
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/chatkit"
)

// Run runs the suite. start starts a chat with h, on a platform that waits for
// answers as long as wait, and returns when it is ready; it ends it with the
// test.
func Run(t *testing.T, start func(t *testing.T, h adapters.Handler, wait time.Duration) Harness) {
	run := func(wait time.Duration, tests []contractTest) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				b := NewBook()
				defer b.eachOnce(t)
				tt.run(t, b, start(t, b, wait))
			})
		}
	}
	run(Patience, []contractTest{
		{"PostShowsTheTicket", postShows},
		{"PostAgainAfterLostAnswerAdopts", postAdopts},
		{"PostAgainAfterLostRequestPosts", postRepeats},
		{"AdoptedCardShowsTheNewestRev", adoptedIsCurrent},
		{"EditMayBeRepeated", editRepeats},
		{"FinalCardCannotBeDecided", finalCard},
		{"InactiveCardCannotBeDecided", inactiveCard},
		{"MenuOffersTheOtherStates", menuOffers},
		{"MenuMovesTheTicket", menuMoves},
		{"MenuIsRefusedToOnePerson", menuRefused},
		{"CardThatNobodyCanDecideSaysSo", nobodyCard},
		{"EditOfDeletedIsGone", editGone},
		{"DeletedIsPostedAgain", postedAgain},
		{"LimitedSaysHowLong", limited},
		{"ReplyAgainAfterLostAnswerIsThereOnce", replyOnce},
		{"RepliesOfOneThreadAreToldApart", repliesApart},
		{"HostileTextNeverPings", hostile},
		{"FormDecides", formDecides},
		{"FormRefusesBadValues", formRefuses},
		{"DenyNeedsAReasonOnly", formDenies},
		{"WhatIsClickedSaysWhatItShows", digestsCarried},
		{"FormIsShownAnewWhenMoreIsKnown", formAnew},
		{"NoteIsForOnePerson", notePrivate},
		{"DetailsShowEverything", details},
		{"CommandIsAnswered", command},
		{"SettingsAreShown", settingsShown},
		{"SettingsThatOthersChangedAreSeen", settingsOfOthers},
		{"ValuesAreSuggested", suggests},
		{"PagesAreTurned", turnPages},
		{"PageStaysIfItCannotBeTurned", turnFails},
		{"HomeShowsWhatWaits", homeShows},
		{"HomeIsDecidedFrom", homeDecides},
		{"HomeSaysWhatWentWrong", homeRefuses},
		{"HomeIsPublishedAgainIfItWasLost", homeLost},
		{"TwentyAtOnceOneDecides", twenty},
		{"HoldsAPersonById", holds},
		{"ReachTellsWhoAndHowMany", reaches},
		{"IdentifiesAPerson", identifies},
		{"IdentityOfActorsIsKnown", identifiesActors},
		{"PanicOfTheHandlerIsSurvived", panics},
	})
	// Answers that come later than the platform waits.
	run(chatkit.AnswerTime, []contractTest{
		{"PictureIsForOnePerson", picture},
		{"SlowCommandIsAnsweredLater", slowCommand},
		{"LateAnswerIsSaidAgainIfItWasLost", lateAnswerLost},
		{"StopLetsCommandsEnd", stopLetsEnd},
		{"SettingsThatTakeLongAreSaved", settingsLate},
		{"PageThatTakesLongIsTurnedLater", turnLate},
	})
}

type contractTest struct {
	name string
	run  func(t *testing.T, b *Book, h Harness)
}
