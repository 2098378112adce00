CREATE TABLE `counting_marks` (
	`name` text PRIMARY KEY NOT NULL,
	`seq` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `interaction_counts` (
	`tenant_id` text PRIMARY KEY NOT NULL,
	`seq` integer NOT NULL,
	`revision` integer NOT NULL,
	`behind` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `interaction_counts_behind` ON `interaction_counts` (`behind`,`tenant_id`) WHERE behind = 1;--> statement-breakpoint
CREATE TABLE `interactions_removed` (
	`tenant_id` text NOT NULL,
	`seq` integer NOT NULL,
	`id` text NOT NULL,
	`type` text NOT NULL,
	`user_id` text,
	`item_id` text NOT NULL,
	`value` real,
	`occurred_at` text NOT NULL,
	`created_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `seq`)
);
--> statement-breakpoint
CREATE TABLE `item_vectors` (
	`tenant_id` text NOT NULL,
	`item_id` text NOT NULL,
	`category` text,
	`vector` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `item_id`)
);
--> statement-breakpoint
CREATE INDEX `item_vectors_by_category` ON `item_vectors` (`tenant_id`,`category`,`item_id`);--> statement-breakpoint
CREATE TABLE `item_weights` (
	`tenant_id` text NOT NULL,
	`item_id` text NOT NULL,
	`weight` real NOT NULL,
	`times` integer NOT NULL,
	`neighbours` text NOT NULL,
	`farther` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `item_id`)
);
--> statement-breakpoint
CREATE INDEX `item_weights_by_weight` ON `item_weights` (`tenant_id`,`weight`);--> statement-breakpoint
CREATE TABLE `user_consumed` (
	`tenant_id` text NOT NULL,
	`user_id` text NOT NULL,
	`item_id` text NOT NULL,
	`times` integer NOT NULL,
	PRIMARY KEY(`tenant_id`, `user_id`, `item_id`)
);
--> statement-breakpoint
CREATE TABLE `user_recents` (
	`tenant_id` text NOT NULL,
	`user_id` text NOT NULL,
	`recent` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `user_id`)
);
--> statement-breakpoint
CREATE TRIGGER `interactions_to_take_back` AFTER DELETE ON `interactions` WHEN old.`item_id` IS NOT NULL BEGIN
	INSERT INTO `interactions_removed`(`tenant_id`, `seq`, `id`, `type`, `user_id`, `item_id`, `value`, `occurred_at`, `created_at`)
		VALUES (old.`tenant_id`, old.`seq`, old.`id`, old.`type`, old.`user_id`, old.`item_id`, old.`value`, old.`occurred_at`, old.`created_at`);
END;
