ALTER TABLE `chats` ADD `forked_from` text;--> statement-breakpoint
ALTER TABLE `chats` ADD `ratings_up` integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE `chats` ADD `ratings_down` integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE `usage_logs` ADD `answers` text;