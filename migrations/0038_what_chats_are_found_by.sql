CREATE TABLE `chat_finders` (
	`seq` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`tenant_id` text NOT NULL,
	`subject` text NOT NULL,
	`chat_id` text NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `chat_finders_of_chat` ON `chat_finders` (`tenant_id`,`chat_id`,`subject`);--> statement-breakpoint
CREATE TABLE `chat_texts` (
	`tenant_id` text NOT NULL,
	`chat_id` text NOT NULL,
	`title` text,
	`text` text DEFAULT '' NOT NULL,
	`log_seq` integer DEFAULT 0 NOT NULL,
	PRIMARY KEY(`tenant_id`, `chat_id`)
);
--> statement-breakpoint
CREATE VIRTUAL TABLE `chat_words` USING fts5(`words`, content='', contentless_delete=1, tokenize="unicode61 remove_diacritics 2 categories 'L* N* M* Co'");
--> statement-breakpoint
CREATE TRIGGER `chat_finders_worded` AFTER INSERT ON `chat_finders` BEGIN
	INSERT INTO `chat_words`(`rowid`, `words`)
		SELECT new.`seq`, replace(coalesce(t.`title`, '') || char(10) || t.`text`, char(8203), char(8203) || CASE new.`subject` WHEN 'tenant' THEN 'e' || substr(new.`tenant_id`, -12) ELSE substr(new.`subject`, 1, 1) || substr(new.`subject`, -12) END)
		FROM `chat_texts` AS t WHERE t.`tenant_id` = new.`tenant_id` AND t.`chat_id` = new.`chat_id`;
END;
--> statement-breakpoint
CREATE TRIGGER `chat_finders_unworded` AFTER DELETE ON `chat_finders` BEGIN
	DELETE FROM `chat_words` WHERE `rowid` = old.`seq`;
END;
--> statement-breakpoint
CREATE TRIGGER `chat_texts_found` AFTER INSERT ON `chat_texts` BEGIN
	INSERT INTO `chat_finders`(`tenant_id`, `subject`, `chat_id`)
		SELECT `tenant_id`, 'user:' || `user_id`, `id` FROM `chats` WHERE `tenant_id` = new.`tenant_id` AND `id` = new.`chat_id`
		UNION SELECT `tenant_id`, `subject`, `chat_id` FROM `chat_shares` WHERE `tenant_id` = new.`tenant_id` AND `chat_id` = new.`chat_id`
			AND (`subject` = 'tenant' OR `subject` GLOB 'user:*' OR `subject` GLOB 'team:*');
END;
--> statement-breakpoint
CREATE TRIGGER `chat_texts_refound` AFTER UPDATE OF `title`, `text` ON `chat_texts` WHEN old.`title` IS NOT new.`title` OR old.`text` <> new.`text` BEGIN
	DELETE FROM `chat_finders` WHERE `tenant_id` = new.`tenant_id` AND `chat_id` = new.`chat_id`;
	INSERT INTO `chat_finders`(`tenant_id`, `subject`, `chat_id`)
		SELECT `tenant_id`, 'user:' || `user_id`, `id` FROM `chats` WHERE `tenant_id` = new.`tenant_id` AND `id` = new.`chat_id`
		UNION SELECT `tenant_id`, `subject`, `chat_id` FROM `chat_shares` WHERE `tenant_id` = new.`tenant_id` AND `chat_id` = new.`chat_id`
			AND (`subject` = 'tenant' OR `subject` GLOB 'user:*' OR `subject` GLOB 'team:*');
END;
--> statement-breakpoint
CREATE TRIGGER `chat_texts_lost` AFTER DELETE ON `chat_texts` BEGIN
	DELETE FROM `chat_finders` WHERE `tenant_id` = old.`tenant_id` AND `chat_id` = old.`chat_id`;
END;
--> statement-breakpoint
CREATE TRIGGER `chats_lost_text` AFTER DELETE ON `chats` BEGIN
	DELETE FROM `chat_texts` WHERE `tenant_id` = old.`tenant_id` AND `chat_id` = old.`id`;
END;
--> statement-breakpoint
CREATE TRIGGER `chat_shares_found` AFTER INSERT ON `chat_shares` WHEN new.`subject` = 'tenant' OR new.`subject` GLOB 'user:*' OR new.`subject` GLOB 'team:*' BEGIN
	INSERT INTO `chat_finders`(`tenant_id`, `subject`, `chat_id`)
		SELECT t.`tenant_id`, new.`subject`, t.`chat_id` FROM `chat_texts` AS t WHERE t.`tenant_id` = new.`tenant_id` AND t.`chat_id` = new.`chat_id`
			AND NOT EXISTS (SELECT 1 FROM `chat_finders` AS f WHERE f.`tenant_id` = new.`tenant_id` AND f.`chat_id` = new.`chat_id` AND f.`subject` = new.`subject`);
END;
--> statement-breakpoint
CREATE TRIGGER `chat_shares_lost` AFTER DELETE ON `chat_shares` BEGIN
	DELETE FROM `chat_finders` WHERE `tenant_id` = old.`tenant_id` AND `chat_id` = old.`chat_id` AND `subject` = old.`subject`;
END;
--> statement-breakpoint
INSERT INTO `chat_texts`(`tenant_id`, `chat_id`, `title`)
SELECT `tenant_id`, `id`, char(8203) || replace(`title`, ' ', ' ' || char(8203)) FROM `chats` WHERE `title` IS NOT NULL;
