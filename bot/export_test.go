package bot

import "context"

// Written returns when everything is written that is written beside answers.
func (b *Bot) Written(ctx context.Context) { b.late.wait(ctx) }

// CardsToTell returns of how many cards the admins have to be told still.
func (b *Bot) CardsToTell() (cards int) {
	b.notices.mu.Lock()
	defer b.notices.mu.Unlock()
	for _, n := range b.notices.list {
		cards += len(n.cards)
	}
	return cards
}
