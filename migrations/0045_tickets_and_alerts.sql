CREATE TABLE `alert_rules` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`name` text NOT NULL,
	`metric` text NOT NULL,
	`comparison` text NOT NULL,
	`threshold` real NOT NULL,
	`resolve_threshold` real,
	`window_minutes` integer NOT NULL,
	`no_data` text NOT NULL,
	`status` text NOT NULL,
	`created_by` text,
	`version` integer DEFAULT 1 NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `id`)
);
--> statement-breakpoint
CREATE TABLE `alert_watches` (
	`tenant_id` text PRIMARY KEY NOT NULL,
	`looked_at` text NOT NULL
);
--> statement-breakpoint
CREATE INDEX `alert_watches_by_look` ON `alert_watches` (`looked_at`);
--> statement-breakpoint
CREATE TABLE `alerts` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`rule_id` text NOT NULL,
	`name` text NOT NULL,
	`metric` text NOT NULL,
	`comparison` text NOT NULL,
	`threshold` real NOT NULL,
	`window_minutes` integer NOT NULL,
	`value` real NOT NULL,
	`status` text NOT NULL,
	`acknowledged_at` text,
	`acknowledged_by` text,
	`resolved_at` text,
	`resolved_value` real,
	`resolution` text,
	`version` integer DEFAULT 1 NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `id`)
);
--> statement-breakpoint
CREATE INDEX `alerts_by_status` ON `alerts` (`tenant_id`,`status`,`id`);
--> statement-breakpoint
CREATE INDEX `alerts_by_rule` ON `alerts` (`tenant_id`,`rule_id`,`id`);
--> statement-breakpoint
CREATE UNIQUE INDEX `alerts_lasting` ON `alerts` (`tenant_id`,`rule_id`) WHERE resolved_at is null;
--> statement-breakpoint
CREATE TABLE `ticket_comments` (
	`tenant_id` text NOT NULL,
	`ticket_id` text NOT NULL,
	`id` text NOT NULL,
	`author_id` text,
	`body` text NOT NULL,
	`internal` integer NOT NULL,
	`created_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `ticket_id`, `id`)
);
--> statement-breakpoint
CREATE INDEX `ticket_comments_public` ON `ticket_comments` (`tenant_id`,`ticket_id`,`id`) WHERE internal = 0;
--> statement-breakpoint
CREATE TABLE `ticket_numbers` (
	`tenant_id` text PRIMARY KEY NOT NULL,
	`last` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `tickets` (
	`seq` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`number` integer NOT NULL,
	`subject` text NOT NULL,
	`body` text NOT NULL,
	`status` text NOT NULL,
	`priority` text NOT NULL,
	`requester_id` text NOT NULL,
	`assignee_id` text,
	`solved_at` text,
	`closed_at` text,
	`version` integer DEFAULT 1 NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `tickets_by_id` ON `tickets` (`tenant_id`,`id`);
--> statement-breakpoint
CREATE UNIQUE INDEX `tickets_by_number` ON `tickets` (`tenant_id`,`number`);
--> statement-breakpoint
CREATE INDEX `tickets_by_status` ON `tickets` (`tenant_id`,`status`,`priority`,`id`);
--> statement-breakpoint
CREATE INDEX `tickets_by_requester` ON `tickets` (`tenant_id`,`requester_id`,`id`);
--> statement-breakpoint
CREATE INDEX `tickets_of_requester` ON `tickets` (`tenant_id`,`requester_id`,`status`,`priority`,`id`);
--> statement-breakpoint
CREATE INDEX `tickets_by_assignee` ON `tickets` (`tenant_id`,`assignee_id`,`id`);
--> statement-breakpoint
CREATE INDEX `tickets_of_assignee` ON `tickets` (`tenant_id`,`assignee_id`,`status`,`priority`,`id`);
--> statement-breakpoint
CREATE INDEX `tickets_between` ON `tickets` (`tenant_id`,`requester_id`,`assignee_id`,`id`);
--> statement-breakpoint
CREATE TABLE `delivery_failures` (
	`tenant_id` text NOT NULL,
	`minute` integer NOT NULL,
	`failed` integer NOT NULL,
	PRIMARY KEY(`tenant_id`, `minute`)
);
--> statement-breakpoint
CREATE VIRTUAL TABLE `ticket_words` USING fts5(`words`, content='', contentless_delete=1, tokenize="unicode61 remove_diacritics 2 categories 'L* N* M* Co'");
--> statement-breakpoint
CREATE VIEW `ticket_texts` AS SELECT `tenant_id`, `id`, '' AS `words` FROM `tickets`;
--> statement-breakpoint
CREATE TRIGGER `ticket_texts_worded` INSTEAD OF INSERT ON `ticket_texts` BEGIN
	DELETE FROM `ticket_words` WHERE `rowid` = (SELECT `seq` FROM `tickets` WHERE `tenant_id` = new.`tenant_id` AND `id` = new.`id`);
	INSERT INTO `ticket_words`(`rowid`, `words`)
		SELECT `seq`, replace(new.`words`, char(8203), char(8203) || 'e' || substr(new.`tenant_id`, -12))
			|| char(10) || replace(new.`words`, char(8203), char(8203) || 'u' || substr(`requester_id`, -12))
			|| CASE WHEN `assignee_id` IS NULL OR `assignee_id` = `requester_id` THEN '' ELSE char(10) || replace(new.`words`, char(8203), char(8203) || 'u' || substr(`assignee_id`, -12)) END
		FROM `tickets` WHERE `tenant_id` = new.`tenant_id` AND `id` = new.`id`;
END;
--> statement-breakpoint
CREATE TRIGGER `tickets_unworded` AFTER DELETE ON `tickets` BEGIN
	DELETE FROM `ticket_words` WHERE `rowid` = old.`seq`;
END;
--> statement-breakpoint
-- An attempt that did not deliver failed; where several are written down at once, all but one that delivered did.
CREATE TRIGGER `deliveries_failing` AFTER UPDATE OF `attempt_count` ON `deliveries`
	WHEN new.`attempt_count` - old.`attempt_count` > (new.`status` = 'delivered' AND old.`status` <> 'delivered') BEGIN
	INSERT INTO `delivery_failures`(`tenant_id`, `minute`, `failed`)
		VALUES (new.`tenant_id`, unixepoch() / 60, new.`attempt_count` - old.`attempt_count` - (new.`status` = 'delivered' AND old.`status` <> 'delivered'))
		ON CONFLICT (`tenant_id`, `minute`) DO UPDATE SET `failed` = `failed` + excluded.`failed`;
END;
