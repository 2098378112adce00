CREATE TABLE `oauth_accounts` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`user_id` text NOT NULL,
	`provider` text NOT NULL,
	`issuer` text NOT NULL,
	`subject` text NOT NULL,
	`email` text NOT NULL,
	`version` integer DEFAULT 1 NOT NULL,
	`created_at` text NOT NULL,
	`last_login_at` text,
	PRIMARY KEY(`tenant_id`, `id`),
	FOREIGN KEY (`tenant_id`,`user_id`) REFERENCES `users`(`tenant_id`,`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE UNIQUE INDEX `oauth_accounts_by_identity` ON `oauth_accounts` (`tenant_id`,`provider`,`issuer`,`subject`);--> statement-breakpoint
CREATE INDEX `oauth_accounts_by_subject` ON `oauth_accounts` (`provider`,`issuer`,`subject`);--> statement-breakpoint
CREATE INDEX `oauth_accounts_by_user` ON `oauth_accounts` (`tenant_id`,`user_id`);--> statement-breakpoint
CREATE TABLE `oauth_states` (
	`hash` text PRIMARY KEY NOT NULL,
	`provider` text NOT NULL,
	`binding` text NOT NULL,
	`tenant` text,
	`redirect_to` text NOT NULL,
	`created_at` text NOT NULL,
	`expires_at` text NOT NULL,
	`used_at` text,
	`opened_tenant` text,
	`opened_user` text
);
--> statement-breakpoint
CREATE INDEX `oauth_states_by_age` ON `oauth_states` (`expires_at`);