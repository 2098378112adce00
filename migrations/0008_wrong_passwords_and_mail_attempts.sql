ALTER TABLE `mails` ADD `next_attempt_at` text;--> statement-breakpoint
ALTER TABLE `mails` ADD `useful_until` text;--> statement-breakpoint
ALTER TABLE `mails` ADD `attempts` integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE `mails` ADD `failed_at` text;--> statement-breakpoint
ALTER TABLE `mails` ADD `last_error` text;--> statement-breakpoint
CREATE INDEX `mails_due` ON `mails` (`next_attempt_at`) WHERE next_attempt_at is not null;--> statement-breakpoint
CREATE INDEX `users_imported` ON `users` (`password_hash`) WHERE substr(password_hash, 1, 2) = '$2';