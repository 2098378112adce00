CREATE TRIGGER `files_leave_chats` AFTER DELETE ON `files` BEGIN
	DELETE FROM `chat_attachments` WHERE `tenant_id` = old.`tenant_id` AND `file_id` = old.`id`;
END;
