CREATE TABLE `webhook_keys` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`public_key` text NOT NULL,
	`private_sealed` text NOT NULL,
	`created_at` text NOT NULL,
	`signs_until` text,
	PRIMARY KEY(`tenant_id`, `id`)
);
