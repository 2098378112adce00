CREATE TABLE `audit_seals` (
	`tenant_id` text NOT NULL,
	`number` integer NOT NULL,
	`first_seq` integer NOT NULL,
	`last_seq` integer NOT NULL,
	`key_id` text NOT NULL,
	`previous` text NOT NULL,
	`seal` text NOT NULL,
	`created_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `number`)
);
--> statement-breakpoint
CREATE TABLE `audit_unsealed` (
	`tenant_id` text PRIMARY KEY NOT NULL,
	`since` text NOT NULL
);
--> statement-breakpoint
CREATE INDEX `audit_unsealed_by_time` ON `audit_unsealed` (`since`);--> statement-breakpoint
PRAGMA foreign_keys=OFF;--> statement-breakpoint
CREATE TABLE `__new_audit_log` (
	`tenant_id` text NOT NULL,
	`seq` integer NOT NULL,
	`id` text NOT NULL,
	`actor_kind` text NOT NULL,
	`actor_id` text,
	`impersonator_kind` text,
	`impersonator_id` text,
	`impersonator_tenant_id` text,
	`action` text NOT NULL,
	`resource` text NOT NULL,
	`resource_id` text NOT NULL,
	`address` text,
	`user_agent` text,
	`request_id` text,
	`before` text,
	`after` text,
	`created_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `seq`)
);
--> statement-breakpoint
INSERT INTO `__new_audit_log`("tenant_id", "seq", "id", "actor_kind", "actor_id", "impersonator_id", "action", "resource", "resource_id", "address", "user_agent", "request_id", "before", "after", "created_at")
SELECT "tenant_id", row_number() OVER (PARTITION BY "tenant_id" ORDER BY "seq"), "id", "actor_kind", "actor_id", "impersonator_id", "action", "resource", "resource_id", "address", "user_agent", "request_id", "before", "after", "created_at" FROM `audit_log`;--> statement-breakpoint
INSERT INTO `audit_unsealed`("tenant_id", "since") SELECT "tenant_id", min("created_at") FROM `__new_audit_log` GROUP BY "tenant_id";--> statement-breakpoint
DROP TABLE `audit_log`;--> statement-breakpoint
ALTER TABLE `__new_audit_log` RENAME TO `audit_log`;--> statement-breakpoint
PRAGMA foreign_keys=ON;--> statement-breakpoint
CREATE INDEX `audit_log_by_actor` ON `audit_log` (`tenant_id`,`actor_id`,`seq`);--> statement-breakpoint
CREATE INDEX `audit_log_by_action` ON `audit_log` (`tenant_id`,`action`,`seq`);--> statement-breakpoint
CREATE INDEX `audit_log_by_resource` ON `audit_log` (`tenant_id`,`resource_id`,`seq`);