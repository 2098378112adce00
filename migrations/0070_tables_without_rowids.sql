-- Found by their keys alone, without rowids each is a row written less. What is looked through comes before what may be
-- long, and lies on pages of its own.
CREATE TABLE `idempotency_keys_by_key` (
	`tenant_id` text NOT NULL,
	`principal` text NOT NULL,
	`key` text NOT NULL,
	`created_at` text NOT NULL,
	`awaited_until` text,
	`fingerprint` text NOT NULL,
	`claim` text NOT NULL,
	`status` integer,
	`headers` text,
	`body` text,
	PRIMARY KEY(`tenant_id`, `principal`, `key`)
) WITHOUT ROWID;
--> statement-breakpoint
INSERT INTO `idempotency_keys_by_key`(`tenant_id`, `principal`, `key`, `fingerprint`, `claim`, `status`, `headers`, `body`, `created_at`, `awaited_until`) SELECT `tenant_id`, `principal`, `key`, `fingerprint`, `claim`, `status`, `headers`, `body`, `created_at`, `awaited_until` FROM `idempotency_keys` WHERE `created_at` > strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 day');
--> statement-breakpoint
DROP TABLE `idempotency_keys`;
--> statement-breakpoint
ALTER TABLE `idempotency_keys_by_key` RENAME TO `idempotency_keys`;
--> statement-breakpoint
CREATE TABLE `conversations_by_key` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`created_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `id`)
) WITHOUT ROWID;
--> statement-breakpoint
INSERT INTO `conversations_by_key`(`tenant_id`, `id`, `created_at`) SELECT `tenant_id`, `id`, `created_at` FROM `conversations`;
--> statement-breakpoint
DROP TABLE `conversations`;
--> statement-breakpoint
ALTER TABLE `conversations_by_key` RENAME TO `conversations`;
--> statement-breakpoint
CREATE INDEX `conversations_by_time` ON `conversations` (`tenant_id`,`created_at`,`id`);
