CREATE TABLE `partner_tenants` (
	`tenant_id` text NOT NULL,
	`partner_id` text NOT NULL,
	`role` text NOT NULL,
	`created_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `partner_id`),
	FOREIGN KEY (`partner_id`) REFERENCES `partners`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `partner_tenants_by_partner` ON `partner_tenants` (`partner_id`,`tenant_id`);--> statement-breakpoint
CREATE TABLE `partner_users` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`partner_id` text NOT NULL,
	`created_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `id`),
	FOREIGN KEY (`partner_id`) REFERENCES `partners`(`id`) ON UPDATE no action ON DELETE cascade,
	FOREIGN KEY (`tenant_id`,`id`) REFERENCES `users`(`tenant_id`,`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `partner_users_by_partner` ON `partner_users` (`partner_id`,`id`);--> statement-breakpoint
CREATE TABLE `partners` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`status` text NOT NULL,
	`version` integer DEFAULT 1 NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL
);
--> statement-breakpoint
CREATE INDEX `api_keys_by_id` ON `api_keys` (`id`);--> statement-breakpoint
CREATE INDEX `users_by_id` ON `users` (`id`);