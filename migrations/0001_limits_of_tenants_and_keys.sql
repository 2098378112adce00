ALTER TABLE `api_keys` ADD `limits` text;--> statement-breakpoint
ALTER TABLE `tenants` ADD `rate_limits` text DEFAULT '{}' NOT NULL;