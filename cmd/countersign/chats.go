package main

import (
	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/discord"
	"github.com/countersign/countersign/adapters/slack"
)

// chats are the chats that are configured; the others are nil.
type chats struct {
	slack   *slack.Chat
	discord *discord.Chat
}

// chat is a chat with what the program asks of it beside the bot.
type chat interface {
	adapters.Chat
	adapters.Diagnoser
	adapters.HTTPEndpoints
}

func (c chats) all() (list []chat) {
	if c.slack != nil {
		list = append(list, c.slack)
	}
	if c.discord != nil {
		list = append(list, c.discord)
	}
	return list
}

// forBot are all chats as the bot knows them.
func (c chats) forBot() (list []adapters.Chat) {
	for _, one := range c.all() {
		list = append(list, one)
	}
	return list
}
