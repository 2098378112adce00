CREATE TABLE `knowledge_bases` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`name` text NOT NULL,
	`description` text NOT NULL,
	`documents` integer DEFAULT 0 NOT NULL,
	`chunks` integer DEFAULT 0 NOT NULL,
	`version` integer DEFAULT 1 NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `id`)
);
--> statement-breakpoint
CREATE TABLE `knowledge_chunks` (
	`seq` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`tenant_id` text NOT NULL,
	`document_id` text NOT NULL,
	`position` integer NOT NULL,
	`heading` text,
	`text` text NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `knowledge_chunks_of_document` ON `knowledge_chunks` (`tenant_id`,`document_id`,`position`);--> statement-breakpoint
CREATE TABLE `knowledge_documents` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`knowledge_base_id` text NOT NULL,
	`file_id` text NOT NULL,
	`filename` text NOT NULL,
	`content_type` text NOT NULL,
	`size` integer NOT NULL,
	`status` text NOT NULL,
	`error` text,
	`chunks` integer DEFAULT 0 NOT NULL,
	`version` integer DEFAULT 1 NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `id`)
);
--> statement-breakpoint
CREATE INDEX `knowledge_documents_by_base` ON `knowledge_documents` (`tenant_id`,`knowledge_base_id`,`id`);--> statement-breakpoint
CREATE UNIQUE INDEX `knowledge_documents_by_file` ON `knowledge_documents` (`tenant_id`,`knowledge_base_id`,`file_id`);--> statement-breakpoint
CREATE VIRTUAL TABLE `knowledge_words` USING fts5(`words`, content='', contentless_delete=1, tokenize="unicode61 remove_diacritics 2 categories 'L* N* M* Co'");
--> statement-breakpoint
CREATE VIEW `knowledge_texts` AS SELECT `tenant_id`, `document_id` || '/' || `position` AS `id`, '' AS `words` FROM `knowledge_chunks`;
--> statement-breakpoint
CREATE TRIGGER `knowledge_texts_worded` INSTEAD OF INSERT ON `knowledge_texts` BEGIN
	INSERT INTO `knowledge_words`(`rowid`, `words`)
		SELECT `seq`, replace(new.`words`, char(8203), char(8203) || 'e' || substr(new.`tenant_id`, -12))
		FROM `knowledge_chunks` WHERE `tenant_id` = new.`tenant_id` AND `document_id` = substr(new.`id`, 1, 36)
			AND `position` = cast(substr(new.`id`, 38) AS integer);
END;
--> statement-breakpoint
CREATE TRIGGER `knowledge_chunks_removed` AFTER DELETE ON `knowledge_chunks` BEGIN
	DELETE FROM `knowledge_words` WHERE `rowid` = old.`seq`;
END;
--> statement-breakpoint
CREATE TRIGGER `knowledge_documents_added` AFTER INSERT ON `knowledge_documents` BEGIN
	UPDATE `knowledge_bases` SET `documents` = `documents` + 1, `chunks` = `chunks` + new.`chunks`
		WHERE `tenant_id` = new.`tenant_id` AND `id` = new.`knowledge_base_id`;
END;
--> statement-breakpoint
CREATE TRIGGER `knowledge_documents_counted` AFTER UPDATE OF `chunks` ON `knowledge_documents` WHEN old.`chunks` <> new.`chunks` BEGIN
	UPDATE `knowledge_bases` SET `chunks` = `chunks` + new.`chunks` - old.`chunks`
		WHERE `tenant_id` = new.`tenant_id` AND `id` = new.`knowledge_base_id`;
END;
--> statement-breakpoint
CREATE TRIGGER `knowledge_documents_removed` AFTER DELETE ON `knowledge_documents` BEGIN
	UPDATE `knowledge_bases` SET `documents` = `documents` - 1, `chunks` = `chunks` - old.`chunks`
		WHERE `tenant_id` = old.`tenant_id` AND `id` = old.`knowledge_base_id`;
END;
