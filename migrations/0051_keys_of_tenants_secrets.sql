CREATE TABLE `data_keys` (
	`tenant_id` text NOT NULL,
	`version` integer NOT NULL,
	`wrapped` text NOT NULL,
	`created_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `version`)
);
