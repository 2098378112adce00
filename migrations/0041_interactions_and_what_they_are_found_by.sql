CREATE TABLE `conversations` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`created_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `id`)
);
--> statement-breakpoint
CREATE INDEX `conversations_by_time` ON `conversations` (`tenant_id`,`created_at`,`id`);--> statement-breakpoint
CREATE TABLE `speakers` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`name` text,
	`metadata` text NOT NULL,
	`version` integer DEFAULT 1 NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `id`)
);
--> statement-breakpoint
CREATE INDEX `speakers_by_time` ON `speakers` (`tenant_id`,`created_at`,`id`);--> statement-breakpoint
CREATE TABLE `__new_interactions` (
	`seq` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`type` text NOT NULL,
	`text` text,
	`speaker_id` text,
	`conversation_id` text,
	`channel` text,
	`user_id` text,
	`item_id` text,
	`value` real,
	`audio_file_id` text,
	`metadata` text NOT NULL,
	`occurred_at` text NOT NULL,
	`created_at` text NOT NULL
);
--> statement-breakpoint
INSERT INTO `__new_interactions`(`tenant_id`, `id`, `type`, `text`, `speaker_id`, `conversation_id`, `user_id`, `item_id`, `value`, `metadata`, `occurred_at`, `created_at`)
	SELECT `tenant_id`, `id`, `type`, `text`, `speaker_id`, `conversation_id`, `user_id`, `item_id`, `value`, `metadata`, `occurred_at`, `created_at` FROM `interactions` ORDER BY `id`;
--> statement-breakpoint
DROP TABLE `interactions`;--> statement-breakpoint
ALTER TABLE `__new_interactions` RENAME TO `interactions`;--> statement-breakpoint
CREATE UNIQUE INDEX `interactions_by_id` ON `interactions` (`tenant_id`,`id`);--> statement-breakpoint
CREATE INDEX `interactions_by_type` ON `interactions` (`tenant_id`,`type`,`id`);--> statement-breakpoint
CREATE INDEX `interactions_by_user` ON `interactions` (`tenant_id`,`user_id`,`id`) WHERE user_id is not null;--> statement-breakpoint
CREATE INDEX `interactions_by_item` ON `interactions` (`tenant_id`,`item_id`,`id`) WHERE item_id is not null;--> statement-breakpoint
CREATE INDEX `interactions_by_speaker` ON `interactions` (`tenant_id`,`speaker_id`,`id`) WHERE speaker_id is not null;--> statement-breakpoint
CREATE INDEX `interactions_by_channel` ON `interactions` (`tenant_id`,`channel`,`id`) WHERE channel is not null;--> statement-breakpoint
CREATE INDEX `interactions_by_conversation` ON `interactions` (`tenant_id`,`conversation_id`,`occurred_at`,`id`) WHERE conversation_id is not null;--> statement-breakpoint
CREATE INDEX `interactions_done` ON `interactions` (`tenant_id`,`seq`) WHERE item_id is not null;--> statement-breakpoint
CREATE INDEX `interactions_by_audio` ON `interactions` (`tenant_id`,`audio_file_id`) WHERE audio_file_id is not null;
--> statement-breakpoint
CREATE VIRTUAL TABLE `interaction_words` USING fts5(`words`, content='', contentless_delete=1, tokenize="unicode61 remove_diacritics 2 categories 'L* N* M* Co'");
--> statement-breakpoint
CREATE VIEW `interaction_texts` AS SELECT `tenant_id`, `id`, '' AS `words` FROM `interactions`;
--> statement-breakpoint
CREATE TRIGGER `interaction_texts_worded` INSTEAD OF INSERT ON `interaction_texts` BEGIN
	INSERT INTO `interaction_words`(`rowid`, `words`)
		SELECT `seq`, replace(new.`words`, char(8203), char(8203) || 'e' || substr(new.`tenant_id`, -12))
		FROM `interactions` WHERE `tenant_id` = new.`tenant_id` AND `id` = new.`id`;
END;
--> statement-breakpoint
CREATE TRIGGER `interactions_unworded` AFTER DELETE ON `interactions` WHEN old.`text` IS NOT NULL BEGIN
	DELETE FROM `interaction_words` WHERE `rowid` = old.`seq`;
END;
--> statement-breakpoint
INSERT INTO `interaction_texts`(`tenant_id`, `id`, `words`)
	SELECT `tenant_id`, `id`, char(8203) || replace(`text`, ' ', ' ' || char(8203)) FROM `interactions` WHERE `text` IS NOT NULL;
--> statement-breakpoint
INSERT INTO `speakers`(`tenant_id`, `id`, `metadata`, `created_at`, `updated_at`)
	SELECT `tenant_id`, `speaker_id`, '{}', min(`created_at`), min(`created_at`) FROM `interactions` WHERE `speaker_id` IS NOT NULL GROUP BY `tenant_id`, `speaker_id`;
--> statement-breakpoint
INSERT INTO `conversations`(`tenant_id`, `id`, `created_at`)
	SELECT `tenant_id`, `conversation_id`, min(`created_at`) FROM `interactions` WHERE `conversation_id` IS NOT NULL GROUP BY `tenant_id`, `conversation_id`;
