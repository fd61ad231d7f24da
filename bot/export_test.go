package bot

import "context"

// Written returns when everything is written that is written beside answers.
func (b *Bot) Written(ctx context.Context) { b.late.wait(ctx) }
