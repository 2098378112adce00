CREATE TABLE `chat_reads` (
	`tenant_id` text NOT NULL,
	`chat_id` text NOT NULL,
	`user_id` text NOT NULL,
	`seq` integer NOT NULL,
	`read_count` integer NOT NULL,
	`read_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `chat_id`, `user_id`)
);
--> statement-breakpoint
CREATE INDEX `chat_reads_by_user` ON `chat_reads` (`tenant_id`,`user_id`);--> statement-breakpoint
CREATE TABLE `inbox_listeners` (
	`tenant_id` text NOT NULL,
	`user_id` text NOT NULL,
	`since` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `user_id`)
);
--> statement-breakpoint
CREATE TABLE `push_subscriptions` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`user_id` text NOT NULL,
	`address_hash` text NOT NULL,
	`service` text NOT NULL,
	`target` text NOT NULL,
	`credential` text NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `id`)
);
--> statement-breakpoint
CREATE UNIQUE INDEX `push_subscriptions_by_user` ON `push_subscriptions` (`tenant_id`,`user_id`,`address_hash`);