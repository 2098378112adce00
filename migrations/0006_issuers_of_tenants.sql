CREATE TABLE `issuer_users` (
	`tenant_id` text NOT NULL,
	`issuer` text NOT NULL,
	`subject` text NOT NULL,
	`user_id` text NOT NULL,
	`role_at` integer NOT NULL,
	`created_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `issuer`, `subject`),
	FOREIGN KEY (`tenant_id`,`user_id`) REFERENCES `users`(`tenant_id`,`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `issuer_users_by_user` ON `issuer_users` (`tenant_id`,`user_id`);--> statement-breakpoint
CREATE TABLE `issuers` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`iss` text NOT NULL,
	`aud` text NOT NULL,
	`jwks_uri` text,
	`secret` text,
	`algs` text NOT NULL,
	`typ` text NOT NULL,
	`require` text NOT NULL,
	`claims` text NOT NULL,
	`roles` text NOT NULL,
	`default_role` text NOT NULL,
	`provision` integer NOT NULL,
	`trusts_email` integer NOT NULL,
	`is_active` integer NOT NULL,
	`version` integer DEFAULT 1 NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `id`)
);
--> statement-breakpoint
CREATE UNIQUE INDEX `issuers_by_name` ON `issuers` (`tenant_id`,`iss`,`aud`);