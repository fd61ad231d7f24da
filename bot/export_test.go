package bot

import "context"

// Written returns when everything is written that is written beside answers.
func (b *Bot) Written(ctx context.Context) { b.audit.Wait(ctx) }

// CardsToTell returns of how many cards the admins have to be told still.
func (b *Bot) CardsToTell() int { return b.notifier.Cards() }
