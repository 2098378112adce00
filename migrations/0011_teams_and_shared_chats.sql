CREATE TABLE `chat_shares` (
	`tenant_id` text NOT NULL,
	`chat_id` text NOT NULL,
	`subject` text NOT NULL,
	`role` text NOT NULL,
	`expires_at` text,
	`created_by` text,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `chat_id`, `subject`)
);
--> statement-breakpoint
CREATE INDEX `chat_shares_by_subject` ON `chat_shares` (`tenant_id`,`subject`,`chat_id`);--> statement-breakpoint
CREATE TABLE `team_members` (
	`tenant_id` text NOT NULL,
	`team_id` text NOT NULL,
	`user_id` text NOT NULL,
	`added_by` text,
	`created_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `team_id`, `user_id`)
);
--> statement-breakpoint
CREATE INDEX `team_members_by_user` ON `team_members` (`tenant_id`,`user_id`,`team_id`);--> statement-breakpoint
CREATE TABLE `teams` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`name` text NOT NULL,
	`name_key` text NOT NULL,
	`description` text,
	`created_by` text,
	`version` integer DEFAULT 1 NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `id`)
);
--> statement-breakpoint
CREATE UNIQUE INDEX `teams_by_name` ON `teams` (`tenant_id`,`name_key`);