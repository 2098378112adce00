CREATE TABLE `item_changes` (
	`seq` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`tenant_id` text NOT NULL,
	`item_id` text NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `item_changes_of_item` ON `item_changes` (`tenant_id`,`item_id`);--> statement-breakpoint
CREATE TABLE `items` (
	`seq` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`external_id` text NOT NULL,
	`title` text NOT NULL,
	`category` text,
	`tags` text NOT NULL,
	`attributes` text NOT NULL,
	`available` integer NOT NULL,
	`digest` text NOT NULL,
	`version` integer DEFAULT 1 NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `items_by_id` ON `items` (`tenant_id`,`id`);--> statement-breakpoint
CREATE UNIQUE INDEX `items_by_external_id` ON `items` (`tenant_id`,`external_id`);--> statement-breakpoint
CREATE VIRTUAL TABLE `item_words` USING fts5(`words`, content='', contentless_delete=1, tokenize="unicode61 remove_diacritics 2 categories 'L* N* M* Co'");
--> statement-breakpoint
CREATE VIEW `item_texts` AS SELECT `tenant_id`, `id`, '' AS `words` FROM `items`;
--> statement-breakpoint
CREATE TRIGGER `item_texts_worded` INSTEAD OF INSERT ON `item_texts` BEGIN
	DELETE FROM `item_words` WHERE `rowid` = (SELECT `seq` FROM `items` WHERE `tenant_id` = new.`tenant_id` AND `id` = new.`id`);
	INSERT INTO `item_words`(`rowid`, `words`)
		SELECT `seq`, replace(new.`words`, char(8203), char(8203) || 'e' || substr(new.`tenant_id`, -12))
		FROM `items` WHERE `tenant_id` = new.`tenant_id` AND `id` = new.`id`;
END;
--> statement-breakpoint
CREATE TRIGGER `items_added` AFTER INSERT ON `items` BEGIN
	DELETE FROM `item_changes` WHERE `tenant_id` = new.`tenant_id` AND `item_id` = new.`external_id`;
	INSERT INTO `item_changes`(`tenant_id`, `item_id`) VALUES (new.`tenant_id`, new.`external_id`);
END;
--> statement-breakpoint
CREATE TRIGGER `items_changed` AFTER UPDATE OF `digest` ON `items` WHEN old.`digest` <> new.`digest` BEGIN
	DELETE FROM `item_changes` WHERE `tenant_id` = new.`tenant_id` AND `item_id` = new.`external_id`;
	INSERT INTO `item_changes`(`tenant_id`, `item_id`) VALUES (new.`tenant_id`, new.`external_id`);
END;
--> statement-breakpoint
CREATE TRIGGER `items_removed` AFTER DELETE ON `items` BEGIN
	DELETE FROM `item_words` WHERE `rowid` = old.`seq`;
	DELETE FROM `item_changes` WHERE `tenant_id` = old.`tenant_id` AND `item_id` = old.`external_id`;
	INSERT INTO `item_changes`(`tenant_id`, `item_id`) VALUES (old.`tenant_id`, old.`external_id`);
END;
