CREATE TABLE `attempts` (
	`bucket` text NOT NULL,
	`id` text NOT NULL,
	`at` integer NOT NULL,
	`pending` integer NOT NULL,
	PRIMARY KEY(`bucket`, `id`)
);
--> statement-breakpoint
CREATE INDEX `attempts_by_age` ON `attempts` (`at`);--> statement-breakpoint
CREATE TABLE `server_secrets` (
	`name` text PRIMARY KEY NOT NULL,
	`sealed` text NOT NULL,
	`created_at` text NOT NULL
);
--> statement-breakpoint
ALTER TABLE `api_keys` ADD `counted_as` text;--> statement-breakpoint
ALTER TABLE `api_keys` ADD `allowed_addresses` text;--> statement-breakpoint
ALTER TABLE `api_keys` ADD `replaced_by` text;